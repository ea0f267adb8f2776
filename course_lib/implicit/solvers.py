"""The solvers by name, ``find_root`` to call one, and ``choose``, the rule of thumb behind solver="auto"."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

import torch
from torch import Tensor

from .convergence import Convergence, settle
from .equation import Equation, lipschitz
from .iterations import Solution, anderson, fixed_point, gradient_descent, relative
from .newton import newton, newton_krylov

SOLVERS: dict[str, Callable[..., Solution]] = {
    "fixed_point": fixed_point,
    "anderson": anderson,
    "newton": newton,
    "newton_krylov": newton_krylov,
    "gradient_descent": gradient_descent,
}
# Iterations after which a solver gives up, unless the caller says otherwise.
MAX_ITER = {"fixed_point": 200, "anderson": 200, "newton": 50, "newton_krylov": 50, "gradient_descent": 2000}
DENSE = 128  # widest state whose Jacobian "auto" forms
HINTS = {
    "fixed_point": "It is certain only if θhF has a Lipschitz constant below 1: use solver='newton' or a smaller h.",
    "anderson": "Use solver='newton', or a smaller h.",
    "newton": "Use a smaller h: the equation may have no solution near here.",
    "newton_krylov": "Use a smaller h, or solver='newton' if the state is small.",
    "gradient_descent": "It is slow by nature: use another solver.",
}


def default_tol(dtype: torch.dtype) -> float:
    """1e-10 in float64, 2e-6 in float32: a little above what rounding lets a residual reach."""
    return 1e-10 if dtype == torch.float64 else 2e-6


def check_solver(name: str) -> str:
    """The name itself if it is a solver's, or "auto"; else ValueError with the nearest one."""
    if name == "auto" or name in SOLVERS:
        return name
    near = difflib.get_close_matches(str(name), SOLVERS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"solver: {name!r} is unknown.{hint} Choose 'auto' or one of {', '.join(SOLVERS)}.")


def choose(width: int, rate: float, residual: float, *, tol: float) -> str:
    """The rule of thumb: the solver that is likely the fastest for a state of ``width`` numbers.

    A fixed-point iteration that shrinks its residual by ``rate`` a step needs log(tol / residual) / log(rate) more
    steps. Newton's method costs about ``newton_cost(width)`` such steps, whatever the rate.
    """
    steps = math.log(max(residual / tol, 1.0)) / -math.log(max(rate, 1e-12)) if rate < 1 else math.inf
    if steps <= newton_cost(width):
        return "fixed_point"
    return "newton" if width <= DENSE else "newton_krylov"


def newton_cost(width: int) -> float:
    """What a solve by Newton's method costs, forward and backward, in steps of a fixed-point iteration.

    Measured for a batch of 256 on a CPU: a constant for small states, then the cost of the dense solves.
    """
    return 11 + 0.06 * min(width, DENSE) ** 2 if width <= DENSE else 80.0


def auto(equation: Equation, y: Tensor, *, tol: float, max_iter: int | None) -> tuple[Tensor, Convergence]:
    """Fixed-point steps as long as ``choose`` predicts, from the rate seen so far, that they will pay; else Newton."""
    rate, last, worst, first = 0.0, math.inf, math.inf, y
    for k in range(MAX_ITER["fixed_point"] if max_iter is None else max_iter):
        r = equation.residual(y)
        error = relative(equation, r, y)
        worst = error.max().item()
        if worst <= tol:
            return y, Convergence("fixed_point", k, error, tol, equation.evaluations)
        if k >= 2:
            rate = max(worst / last, math.sqrt(rate * worst / last)) if rate else worst / last
            if not math.isfinite(worst) or choose(equation.width, rate, worst, tol=tol) != "fixed_point":
                break
        last = worst
        y = y + r
    name = "newton" if equation.width <= DENSE else "newton_krylov"
    return _run(equation, y if rate < 1 and math.isfinite(worst) else first, name, tol, max_iter)


def find_root(equation: Equation, y: Tensor, *, solver: str = "auto", tol: float | None = None,
              max_iter: int | None = None, on_failure: str = "raise") -> tuple[Tensor, Convergence]:
    """Solve y = c + aF(y) from the first guess y, without a graph.

    Parameters
    ----------
    equation, y
        The equation and the first guess, of its states' shape.
    solver
        A name in ``SOLVERS``, or "auto": fixed-point steps while they pay by the rule of ``choose``, then Newton.
    tol
        Bound on each sample's residual over 1 + norm of the state; None: 1e-10 in float64, 2e-6 in float32.
    max_iter
        Iterations before it gives up; None: the solver's own number in ``MAX_ITER``.
    on_failure
        "raise" ConvergenceError, or "warn" (ConvergenceWarning) and return the state as it stands.

    Returns
    -------
    (Tensor, Convergence)

    Raises
    ------
    ConvergenceError, BlowUpError, ValueError
    """
    if on_failure not in ("raise", "warn"):
        raise ValueError(f"on_failure: expected 'raise' or 'warn', got {on_failure!r}.")
    tol = default_tol(y.dtype) if tol is None else tol
    with torch.no_grad():
        if check_solver(solver) == "auto":
            y, report = auto(equation, y, tol=tol, max_iter=max_iter)
        else:
            y, report = _run(equation, y, solver, tol, max_iter)
        if not report.converged:
            report.lipschitz = lipschitz(equation, y)
            settle(report, on_failure, HINTS[report.solver])
    return y, report


def _run(equation: Equation, y: Tensor, name: str, tol: float, max_iter: int | None) -> tuple[Tensor, Convergence]:
    limit = MAX_ITER[name] if max_iter is None else max_iter
    y, iterations, residuals = SOLVERS[name](equation, y, tol=tol, max_iter=limit)
    return y, Convergence(name, iterations, residuals, tol, equation.evaluations)
