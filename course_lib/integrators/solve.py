"""``solve``: repeat a one-step method over a grid of times, or let ``dopri5`` choose the steps."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad

from .dopri5 import dopri5
from .explicit import METHODS, Field, Method
from .implicit import IMPLICIT
from .inputs import check_state, check_steps, check_times
from .partitioned import PARTITIONED

NAMED: dict[str, Method] = {**METHODS, **IMPLICIT, **PARTITIONED}


def find_method(name: str) -> Method:
    """Look a method up by name; a misspelt name is answered with the nearest one."""
    if name in NAMED:
        return NAMED[name]
    if name == "dopri5":
        raise ValueError("method: 'dopri5' chooses its own steps; this needs a fixed-step method, such as 'rk4'.")
    near = difflib.get_close_matches(str(name), [*NAMED, "dopri5"], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"method: {name!r} is unknown.{hint} Choose one of {', '.join(NAMED)}, dopri5.")


def solve(
    f: Field, x0: Tensor, t: Tensor | Sequence[float], *, method: str = "rk4", steps: int = 1,
    rtol: float | None = None, atol: float | None = None,
) -> Tensor:
    """Integrate x' = f(t, x), x(t[0]) = x0, and return x at every time in t.

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
        A name in ``METHODS``, ``IMPLICIT`` or ``PARTITIONED``; the last need a field ``Partitioned(f, g)``. Or
        "dopri5", which chooses its own steps.
    steps
        Equal steps taken between neighbouring times, at least 1. Not for "dopri5".
    rtol, atol
        Tolerances of "dopri5" alone, 1e-6 each unless given; see there.

    Returns
    -------
    Tensor
        States, shape (n, \\*x0.shape); the first is x0 itself. Differentiable with respect to x0, t and
        whatever f depends on ("dopri5": not t).

    Raises
    ------
    ValueError, TypeError
        One line that names the argument: t not monotone, x0 not finite or of integer dtype, an unknown method,
        steps < 1, or a field whose result broadcasts the state to another shape.
    SolveError
        "dopri5" found no solution.
    """
    given = {name: value for name, value in (("rtol", rtol), ("atol", atol)) if value is not None}
    if method == "dopri5":
        if steps != 1:
            raise ValueError("steps: dopri5 chooses its own; leave steps out, and set rtol and atol.")
        return dopri5(f, x0, t, **given).x
    rule = find_method(method)
    if given:
        raise ValueError(f"{', '.join(given)}: {method} takes steps of fixed size; set steps, or use method='dopri5'.")
    x = check_state(x0)
    t = check_times(t, x0)
    return torch.stack(repeat(rule, f, x, t, check_steps(steps)))


def repeat(rule: Method, f: Field, x: Tensor, t: Tensor, steps: int) -> list[Tensor]:
    """The states at the times t, by ``steps`` equal steps of a method between neighbours; nothing is checked before."""
    states, shape = [x], x.shape
    sizes = t.diff() / steps
    starts = t[:-1, None] + torch.arange(steps, dtype=t.dtype, device=t.device) * sizes[:, None]
    # A float serves a step better than a 0-d tensor, of which every use is an operation; but it carries no derivative.
    for row, h in zip(starts, sizes.tolist() if is_plain(t) else sizes, strict=True):
        for now in row.unbind():
            x = rule.step(f, now, x, h)
        if x.shape != shape:
            # Broadcasting would otherwise turn a slip in the field into a wrong answer.
            raise ValueError(f"f: made the state {tuple(x.shape)} from {tuple(shape)}; return the shape of x.")
        states.append(x)
    return states


def is_plain(t: Tensor) -> bool:
    """Whether t is numbers alone: no derivative by t is asked for, and no transform of torch.func holds it."""
    dual = forward_ad._current_level >= 0 and forward_ad.unpack_dual(t).tangent is not None
    return not (t.requires_grad or dual or _functorch.is_functorch_wrapped_tensor(t))
