"""Nonlinear least squares by Levenberg–Marquardt, with standard errors, and from many starts.

The steps are those of ``course_lib.train.lm``. The damping follows the gain ratio, what a step gained over what the
linear model promised (Nielsen 1999): a small damping gives Gauss–Newton steps, a large one short steps downhill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from course_lib.integrators.errors import SolveError

from .rows import Fit, levenberg_marquardt_rows

Problem = Callable[[Tensor], tuple[Tensor, Tensor]]


def levenberg_marquardt(
    problem: Problem, p0: Tensor, *, max_solves: int = 100, gtol: float = 1e-5, xtol: float = 1e-6,
    damping: float = 0.1, **options,
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
        Converged when r is orthogonal to the columns of J to within gtol (the cosine), or when a step changes every
        p_k by less than xtol·(xtol + abs(p_k)).
    damping
        The first lambda.
    options
        ``ftol``, ``target`` and ``floor`` of ``levenberg_marquardt_rows``.

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
    last: list[tuple[Tensor, Tensor]] = []

    def one(p: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        try:
            r, J = problem(p[0])
        except SolveError as error:
            if not last:
                raise SolveError(f"p0: no residuals at the start, {error}") from error
            r, J = (torch.full_like(v, torch.nan) for v in last[0])
        last[:] = [(r, J)]
        return r.unsqueeze(0), J.unsqueeze(0)

    (fit,) = levenberg_marquardt_rows(
        one, p0.unsqueeze(0), max_solves=max_solves, gtol=gtol, xtol=xtol, damping=damping, **options
    )
    if isinstance(fit, SolveError):
        raise SolveError(f"p0: no residuals at the start, {fit}")
    return fit


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
