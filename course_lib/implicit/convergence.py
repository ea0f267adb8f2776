"""What a solve says of itself: ``Convergence``, and the errors and the warning for one that did not converge."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from torch import Tensor


class ConvergenceError(RuntimeError):
    """A solve stopped above its tolerance; ``report`` holds its Convergence."""

    def __init__(self, message: str, report: Convergence):
        super().__init__(message)
        self.report = report


class BlowUpError(ConvergenceError):
    """The state of a solve stopped being finite."""


class ConvergenceWarning(RuntimeWarning):
    """The same as ConvergenceError where on_failure="warn" was asked for."""


@dataclass
class Convergence:
    """How a solve went.

    solver       its name ("fixed_point", ..., or "neumann" and the like for a linear solve)
    iterations   done; for a batch that is solved together, those of its slowest sample
    residuals    one a sample: the Euclidean norm of the residual over 1 + the norm of the state
    tol          what the residuals were to reach
    evaluations  of the field F, products with its Jacobian counted as one each
    lipschitz    a lower bound of the Lipschitz constant of y -> aF(y); NaN where it was not needed
    """

    solver: str
    iterations: int
    residuals: Tensor
    tol: float
    evaluations: int = 0
    lipschitz: float = math.nan

    @property
    def failed(self) -> Tensor:
        """Indices of the samples above the tolerance, shape (number, axes); a NaN counts as above."""
        return (~(self.residuals <= self.tol)).nonzero()

    @property
    def converged(self) -> bool:
        return bool((self.residuals <= self.tol).all())

    @property
    def residual(self) -> float:
        """The largest residual of the batch."""
        return self.residuals.max().item()

    def __str__(self) -> str:
        count = f"{len(self.failed)} of {self.residuals.numel()} samples"
        state = "converged" if self.converged else f"did not converge for {count}"
        steps = f"{self.iterations} iteration{'s' if self.iterations != 1 else ''}"
        text = f"{self.solver} {state}: residual {self.residual:.2g} after {steps} (tol {self.tol:g})"
        return text if math.isnan(self.lipschitz) else f"{text}, Lipschitz constant at least {self.lipschitz:.3g}"


def settle(report: Convergence, on_failure: str, hint: str) -> None:
    """Raise or warn, as asked, if the solve did not converge. ``hint`` says what to do about it."""
    if report.converged:
        return
    message = f"{report}. {hint}"
    if on_failure == "raise":
        raise ConvergenceError(message, report)
    warnings.warn(message, ConvergenceWarning, stacklevel=3)


def require_finite(worst: float, solver: str, iteration: int, residuals: Tensor, tol: float) -> None:
    """Raise BlowUpError if the largest residual of this iteration is not a finite number."""
    if not math.isfinite(worst):
        report = Convergence(solver, iteration, residuals, tol)
        message = (f"{solver}: the state stopped being finite at iteration {iteration}. "
                   "Use solver='newton', a smaller h, or smaller weights.")
        raise BlowUpError(message, report)
