"""``solve``: repeat a one-step method over a grid of times."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor

from .explicit import METHODS, Field, Method
from .implicit import IMPLICIT
from .partitioned import PARTITIONED

NAMED: dict[str, Method] = {**METHODS, **IMPLICIT, **PARTITIONED}


def find_method(name: str) -> Method:
    """Look a method up by name; a misspelt name is answered with the nearest one."""
    if name in NAMED:
        return NAMED[name]
    near = difflib.get_close_matches(str(name), NAMED, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"method: {name!r} is unknown.{hint} Choose one of {', '.join(NAMED)}.")


def check_state(x0: Tensor) -> Tensor:
    """Return x0 as it is if a solver can work on it: a floating-point tensor with finite entries."""
    if not isinstance(x0, Tensor):
        raise TypeError(f"x0: expected a torch tensor, got {type(x0).__name__}; wrap it in torch.tensor(...).")
    if not x0.is_floating_point():
        raise TypeError(f"x0: dtype {x0.dtype} cannot hold a step of size h; use x0.float() or x0.double().")
    if not torch.isfinite(x0).all():
        raise ValueError("x0: has NaN or infinite entries; check what computes the initial state.")
    return x0


def check_times(t: Tensor | Sequence[float], x0: Tensor) -> Tensor:
    """Return t as a 1-D tensor like x0, strictly increasing or strictly decreasing, of length at least 2."""
    if not isinstance(t, Tensor):
        t = torch.tensor(t, dtype=x0.dtype, device=x0.device)
    t = t.to(device=x0.device)
    if t.ndim != 1 or len(t) < 2:
        raise ValueError(f"t: expected a 1-D tensor of at least two times, got shape {tuple(t.shape)}.")
    if not torch.isfinite(t).all():
        raise ValueError("t: has NaN or infinite entries; every time must be a finite number.")
    # Times keep their own precision until here: in float32, close times can coincide.
    t = t.to(dtype=x0.dtype)
    gaps = t.diff()
    if not ((gaps > 0).all() or (gaps < 0).all()):
        raise ValueError(f"t: not strictly monotone in {x0.dtype}; sort the times and remove repeated ones.")
    return t


def solve(
    f: Field, x0: Tensor, t: Tensor | Sequence[float], *, method: str = "rk4", steps: int = 1
) -> Tensor:
    """Integrate x' = f(t, x), x(t[0]) = x0, by a fixed-step method and return x at every time in t.

    Parameters
    ----------
    f
        The field, called as ``f(t, x)`` with t a 0-d tensor and x shaped like x0; returns dx/dt of that shape.
    x0
        Initial state, any shape (batch first), a floating-point dtype; sets the dtype and device of the result.
    t
        Times, shape (n,), n >= 2, strictly increasing or strictly decreasing (backward in time); the gaps
        may differ.
    method
        A name in ``METHODS``, ``IMPLICIT`` or ``PARTITIONED``; the last need a field ``Partitioned(f, g)``.
    steps
        Equal steps taken between neighbouring times, at least 1.

    Returns
    -------
    Tensor
        States, shape (n, \\*x0.shape); the first is x0 itself. Differentiable with respect to x0, t and
        whatever f depends on.

    Raises
    ------
    ValueError, TypeError
        One line that names the argument: t not monotone, x0 not finite or of integer dtype, an unknown method,
        steps < 1, or a field whose result broadcasts the state to another shape.
    """
    rule = find_method(method)
    x = check_state(x0)
    t = check_times(t, x0)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps: expected a whole number of at least 1, got {steps!r}.")
    states = [x]
    for start, gap in zip(t[:-1], t.diff(), strict=True):
        h = gap / steps
        for k in range(steps):
            x = rule.step(f, start + k * h, x, h)
        if x.shape != x0.shape:
            # Broadcasting would otherwise turn a slip in the field into a wrong answer.
            raise ValueError(f"f: made the state {tuple(x.shape)} from {tuple(x0.shape)}; return the shape of x.")
        states.append(x)
    return torch.stack(states)
