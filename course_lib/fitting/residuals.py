"""Least-squares problems made of a model with a few parameters and a trajectory."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.integrators.errors import SolveError

from .least_squares import Problem
from .sensitivities import Model, sensitivities


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
