"""Nonlinear least squares by Levenberg–Marquardt, with standard errors, and from many starts.

The method (Levenberg 1944, Marquardt 1963) minimises ‖r(p)‖² by solving, at every step, the linear least-squares
problem ‖r + J d‖² + lambda ‖D d‖², J = dr/dp, D the column norms of J. The damping lambda follows the gain ratio
(Nielsen 1999): a small one gives Gauss–Newton steps, a large one short steps downhill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .sensitivities import Model, SolveError, sensitivities

Problem = Callable[[Tensor], tuple[Tensor, Tensor]]


def trajectory_residuals(model: Model, t: Tensor, data: Tensor, *, log: bool = True, **solver) -> Problem:
    """The problem p -> (r, J) of a trajectory against data: r = log x - log data, or x - data.

    Parameters
    ----------
    model
        ``model(p) -> (f, x0)``, see ``course_lib.fitting.sensitivities``.
    t, data
        Times, shape (m,), the first being the time of x0; observations, shape (m, d), positive if ``log``.
    log
        Compare logarithms: equal *relative* errors count equally.
    solver
        Keyword arguments of ``integrate``.

    Returns
    -------
    Callable
        A function of p, shape (n,), to r of shape (m·d,), time by time, and J of shape (m·d, n). It raises
        ``SolveError`` where the solution fails or, with ``log``, is not positive.
    """
    if data.ndim != 2 or len(data) != len(t):
        raise ValueError(f"data: expected shape ({len(t)}, d), one row a time, got {tuple(data.shape)}.")
    if not torch.isfinite(data).all() or (log and (data <= 0).any()):
        raise ValueError(f"data: every entry must be finite{' and positive, or pass log=False' if log else ''}.")

    def problem(p: Tensor) -> tuple[Tensor, Tensor]:
        x, s = sensitivities(model, p, t, **solver)
        if x.shape != data.shape:
            raise ValueError(f"data: the model gives {x.shape[1]} variables, the data have {data.shape[1]} columns.")
        if not log:
            return (x - data).flatten(), s.flatten(0, 1)
        if (x <= 0).any():
            raise SolveError("the solution is not positive, so it has no logarithm.")
        return (x.log() - data.log()).flatten(), (s / x.unsqueeze(-1)).flatten(0, 1)

    return problem


@dataclass(frozen=True)
class Fit:
    """Where Levenberg–Marquardt stopped. p: (n,); residuals: (m,); jacobian: (m, n); costs: ‖r‖² after each step."""

    p: Tensor
    residuals: Tensor
    jacobian: Tensor
    costs: tuple[float, ...]
    solves: int
    failed_solves: int
    converged: bool
    message: str

    @property
    def cost(self) -> float:
        """The sum of squared residuals."""
        return self.costs[-1]

    @property
    def rmse(self) -> float:
        """Root mean square of the residuals."""
        return self.residuals.square().mean().sqrt().item()

    @property
    def covariance(self) -> Tensor:
        """s² (JᵀJ)⁻¹ with s² = ‖r‖² / (m - n), shape (n, n). JᵀJ is the Gauss–Newton Hessian of ‖r‖²/2."""
        m, n = self.jacobian.shape
        if m <= n:
            raise ValueError(f"covariance: {m} residuals leave no degree of freedom for {n} parameters.")
        _, r = torch.linalg.qr(self.jacobian)
        if r.diagonal().abs().min() < 1e-10 * r.diagonal().abs().max():
            raise ValueError("covariance: the data do not determine every parameter (JᵀJ is singular).")
        half = torch.linalg.inv(r)
        return self.cost / (m - n) * half @ half.T

    @property
    def standard_errors(self) -> Tensor:
        """Square roots of the covariance's diagonal, shape (n,)."""
        return self.covariance.diagonal().sqrt()


def levenberg_marquardt(
    problem: Problem, p0: Tensor, *, max_solves: int = 100, gtol: float = 1e-5, xtol: float = 1e-6,
    damping: float = 0.1,
) -> Fit:
    """Minimise ‖r(p)‖² from p0.

    Parameters
    ----------
    problem
        p of shape (n,) -> (r, J) of shapes (m,) and (m, n). It may raise ``SolveError``: such a step is counted and
        retried shorter.
    p0
        Start, shape (n,), floating point.
    max_solves
        Most evaluations of ``problem``.
    gtol, xtol
        Converged when r is orthogonal to the columns of J to within gtol (the cosine), or when a step changes p by
        less than xtol·(xtol + ‖p‖).
    damping
        The first lambda.

    Returns
    -------
    Fit
        Whether or not it converged: look at ``converged`` and ``message``.

    Raises
    ------
    SolveError
        If the problem cannot be evaluated at p0 itself.
    ValueError
        If a tolerance or the damping is not positive.
    """
    for name, value in {"gtol": gtol, "xtol": xtol, "damping": damping}.items():
        if not value > 0:
            raise ValueError(f"{name}: must be positive, got {value!r}; without it the search never ends.")
    p, grow = p0.detach().clone(), 2.0
    try:
        r, J = problem(p)
    except SolveError as error:
        raise SolveError(f"p0: no residuals at the start, {error}") from error
    costs, solves, failed, message = [r.square().sum().item()], 1, 0, ""
    while not message:
        norms = J.norm(dim=0).clamp_min(1e-12 * J.norm().item() + 1e-300)
        cosine = (J.T @ r / norms).abs().max() / r.norm().clamp_min(1e-300)
        if cosine <= gtol:
            message = "the residuals are orthogonal to the columns of the Jacobian"
            break
        # [J; sqrt(lambda) D] d = [-r; 0]: the same step as from the normal equations, without squaring the condition.
        rows = torch.cat((J, damping**0.5 * norms.diag()))
        step = torch.linalg.lstsq(rows, torch.cat((-r, torch.zeros_like(p))).unsqueeze(1)).solution.squeeze(1)
        # What the linear model promises, ‖r‖² - ‖r + J d‖², written without cancellation.
        predicted = ((J @ step).square().sum() + 2 * damping * (norms * step).square().sum()).item()
        if step.norm() <= xtol * (xtol + p.norm()):
            message = "the step is negligible"
        elif solves == max_solves:
            return Fit(p, r, J, tuple(costs), solves, failed, False, f"not converged after {solves} solves")
        else:
            solves += 1
            try:
                r_new, J_new = problem(p + step)
                gain = (costs[-1] - r_new.square().sum().item()) / predicted
            except SolveError:
                gain, failed = -1.0, failed + 1
            if gain > 0:
                p, r, J = p + step, r_new, J_new
                costs.append(r.square().sum().item())
                damping, grow = damping * max(0.1, 1 - (2 * gain - 1) ** 3), 2.0
            else:
                damping, grow = damping * grow, grow * 2
    return Fit(p, r, J, tuple(costs), solves, failed, True, message)


def multi_start(problem: Problem, starts: Iterable[Tensor], **options) -> list[Fit | SolveError]:
    """One result for every start, in order: its ``Fit``, or the ``SolveError`` if it could not even begin.

    ``options`` go to ``levenberg_marquardt``.
    """
    results: list[Fit | SolveError] = []
    for p0 in starts:
        try:
            results.append(levenberg_marquardt(problem, p0, **options))
        except SolveError as error:
            results.append(error)
    return results
