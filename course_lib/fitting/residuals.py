"""Least-squares problems made of a model with a few parameters and a trajectory: one at a time, or rows of them."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.integrators.errors import SolveError

from .least_squares import Problem
from .rows import Rows
from .sensitivities import Model, sensitivities, sensitivities_rows


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
    check(data, t, log)

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


def trajectory_rows(model: Model, t: Tensor, data: Tensor, *, log: bool = True, steps: int = 4) -> Rows:
    """The same for ``levenberg_marquardt_rows``: many starts, or many data sets, solved side by side by RK4.

    A random start can be far from any solution worth the solver's care, and it is the number of tensor operations that
    costs: twenty starts take hardly longer than one.

    ::

        fits = levenberg_marquardt_rows(trajectory_rows(model, t, counts), starts)  # starts (20, n)

    Parameters
    ----------
    model, t, log
        As in ``trajectory_residuals``.
    data
        Observations, shape (m, d), for all rows; or (rows, m, d), for each its own (a bootstrap).
    steps
        Steps of RK4 between neighbouring times; look how far the result moves when there are twice as many.

    Returns
    -------
    Callable
        (p, rows) -> (r, J) of shapes (k, m·d) and (k, m·d, n); r is not finite where the solution is lost.
    """
    for one in data if data.ndim == 3 else [data]:
        check(one, t, log)

    def problem(p: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        x, s = sensitivities_rows(model, p, t, steps=steps)
        y = data if data.ndim == 2 else data[rows]
        if x.shape[1:] != data.shape[-2:]:
            raise ValueError(f"data: the model gives {x.shape[2]} variables, the data have {data.shape[-1]} columns.")
        if log:  # the logarithm of what is not positive is NaN, which is what a lost solution looks like
            return (x.log() - y.log()).flatten(1), (s / x.unsqueeze(-1)).flatten(1, 2)
        return (x - y).flatten(1), s.flatten(1, 2)

    return problem


def check(data: Tensor, t: Tensor, log: bool) -> None:
    if data.ndim != 2 or len(data) != len(t):
        raise ValueError(f"data: expected shape ({len(t)}, d), one row a time, got {tuple(data.shape)}.")
    if not torch.isfinite(data).all() or (log and (data <= 0).any()):
        raise ValueError(f"data: every entry must be finite{' and positive, or pass log=False' if log else ''}.")
