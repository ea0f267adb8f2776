"""The θ-layer: one implicit residual layer for any module F."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .convergence import Convergence
from .differentiate import LINEAR, Record, Settings, implicit_state
from .equation import Equation
from .solvers import check_solver

GUESSES = ("x", "euler", "linearised", "last")
GRADIENTS = ("exact", "listing", "phantom")


class ThetaLayer(nn.Module):
    """y = x + (1-θ)hF(x) + θhF(y) (Reshniak and Webster, arXiv 1905.10479, equation 7).

    ``report`` and ``backward_report`` hold the Convergence of the last solves (None before the first).

    Parameters
    ----------
    F
        A module from states to states of the same shape, (samples..., state...), each sample for itself; dense or
        convolutional. Where it has a method ``jacobian(y, Fy)``, with Fy = F(y), of shape (samples..., n, n),
        Newton's method uses it, and where it has ``vjp(y, Fy)``, a function v -> (dF/dy)ᵀ v, the matrix-free
        backward solvers use that.
    h
        Step size.
    theta
        In [0, 1]: 0 is the residual block x + hF(x), computed without a solve; ½ the trapezoidal rule; 1 backward
        Euler. A tensor gives each sample its own: it must broadcast against the states.
    learn_theta
        Makes θ a parameter, the sigmoid of one number, started at ``theta`` (strictly between 0 and 1).
    solver
        A name in ``SOLVERS``, or "auto".
    backward
        How the linear system of the backward pass is solved: "dense", "neumann", "gcr", or "auto": what suits the
        forward solver.
    tol, max_iter, on_failure
        As in ``find_root``; tol and on_failure hold for the backward pass as well.
    guess
        Where the solver starts: "x", "euler" (x + hF(x)), "linearised", the solution of the equation linearised
        about x, which is one undamped Newton step from x and needs the dense Jacobian, or "last", the solution of
        the last call if it has the shape of x, else x: for full-batch training of fields with one solution.
    gradient
        "exact"; "listing" and "phantom" are two wrong ones, to be compared with it (see ``implicit_state``).
    sample_axes
        Leading axes of x that count samples.
    """

    def __init__(self, F: nn.Module, *, h: float = 1.0, theta: float | Tensor = 0.5, learn_theta: bool = False,
                 solver: str = "auto", backward: str = "auto", tol: float | None = None, max_iter: int | None = None,
                 on_failure: str = "raise", guess: str = "x", gradient: str = "exact", sample_axes: int = 1):
        super().__init__()
        for name, value, choices in (("guess", guess, GUESSES), ("gradient", gradient, GRADIENTS),
                                     ("backward", backward, LINEAR), ("on_failure", on_failure, ("raise", "warn"))):
            if value not in choices:
                raise ValueError(f"{name}: {value!r} is unknown; choose one of {', '.join(choices)}.")
        bounds = torch.as_tensor(theta)
        if not bool(((bounds >= 0) & (bounds <= 1)).all()):
            raise ValueError(f"theta: expected a number from 0 to 1, got {theta!r}.")
        if not (isinstance(h, (int, float)) and math.isfinite(h)):
            raise ValueError(f"h: expected a finite number, got {h!r}.")
        self.F, self.h, self.guess, self.gradient, self.sample_axes = F, h, guess, gradient, sample_axes
        self.settings = Settings(check_solver(solver), backward, tol, max_iter, on_failure)
        if learn_theta:
            if not (isinstance(theta, (int, float)) and 0 < theta < 1):
                raise ValueError("theta: to be learned it must start strictly between 0 and 1.")
            self.raw_theta = nn.Parameter(torch.tensor([math.log(theta / (1 - theta))]))
        else:
            self.raw_theta = None
            self.fixed_theta = theta
        self._record = Record()

    @property
    def theta(self) -> float | Tensor:
        """θ as it is now: the number or tensor given, or the learned 0-d tensor."""
        return self.fixed_theta if self.raw_theta is None else torch.sigmoid(self.raw_theta)[0]

    @property
    def report(self) -> Convergence | None:
        return self._record.report

    @property
    def backward_report(self) -> Convergence | None:
        return self._record.backward_report

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta
        hF = self.h * self.F(x)
        if hF.shape != x.shape:
            raise ValueError(f"F: made {tuple(hF.shape)} from {tuple(x.shape)}; it must keep the shape.")
        if not isinstance(theta, Tensor) and theta == 0:
            return x + hF
        c = x if not isinstance(theta, Tensor) and theta == 1 else x + (1 - theta) * hF
        a = torch.as_tensor(theta * self.h, dtype=x.dtype, device=x.device)
        y, self._record = implicit_state(
            self.F, c, a, self._first_guess(x, c, a, hF).detach(), settings=self.settings,
            sample_axes=self.sample_axes, gradient=self.gradient,
        )
        return y

    @torch.no_grad()
    def _first_guess(self, x: Tensor, c: Tensor, a: Tensor, hF: Tensor) -> Tensor:
        if self.guess == "last" and self._record.solution is not None:
            last = self._record.solution
            return last if last.shape == x.shape and last.dtype == x.dtype else x
        if self.guess in ("x", "last"):
            return x
        if self.guess == "euler":
            return x + hF
        equation = Equation(self.F, c, a, sample_axes=self.sample_axes, jacobian=getattr(self.F, "jacobian", None))
        step = torch.linalg.solve(equation.matrix(x), hF.flatten(self.sample_axes).unsqueeze(-1))
        return x + step.view(x.shape)

    def extra_repr(self) -> str:
        s = self.settings
        return f"h={self.h}, theta={self.theta}, solver={s.solver!r}, backward={s.backward!r}"
