"""A trajectory cut into segments that are integrated side by side, as one batch.

A rollout over n times is n - 1 steps one after another; cut into segments of g gaps it is g steps on a batch, whatever
n is. The parallel gain is the smaller one. The greater is that no solution is followed for longer than g gaps, so that
neither it nor its gradient can run away (Bock and Plitt 1984, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.integrators.explicit import Field, Method
from course_lib.integrators.solve import check_times, find_method


class Segments(NamedTuple):
    """first: (segments,) indices of the times that segments start at; t, h: (segments, group) starts and lengths of
    the gaps, of length 0 where the last segment is filled up; n: how many times there are."""

    first: Tensor
    t: Tensor
    h: Tensor
    n: int


def cut(t: Tensor, group: int | None) -> Segments:
    """Segments of `group` gaps between neighbouring times, the last one perhaps shorter; None: one for all times."""
    gaps = len(t) - 1
    group = gaps if group is None else group
    if not isinstance(group, int) or isinstance(group, bool) or group < 1:
        raise ValueError(f"group: expected a number of gaps from 1 to {gaps}, or None for all of them, got {group!r}.")
    group = min(group, gaps)
    missing = -gaps % group
    starts = torch.cat((t[:-1], t[-1:].expand(missing))).view(-1, group)
    lengths = torch.cat((t.diff(), t.new_zeros(missing))).view(-1, group)
    return Segments(torch.arange(0, gaps, group, device=t.device), starts, lengths, len(t))


def shoot(
    f: Field, x: Tensor, segments: Segments, rule: Method, steps: int, observe: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Integrate every segment from its own start by a one-step method, `steps` equal steps a gap.

    Parameters
    ----------
    f, x
        Field; starts, shape (segments, \\*state). f is called with t of shape (segments, 1, ..., 1).
    observe
        What of a state is seen in the data; None for all of it.

    Returns
    -------
    tuple of Tensor
        What is seen at the times 1 ... n - 1, shape (n - 1, \\*observed); and the ends, shape (segments, \\*state).
    """
    one = (-1, *[1] * (x.ndim - 1))
    seen = []
    for t, h in zip(segments.t.unbind(1), segments.h.unbind(1), strict=True):
        t, h = t.reshape(one), h.reshape(one) / steps
        for k in range(steps):
            x = rule.step(f, t + k * h, x, h)
        seen.append(x if observe is None else observe(x))
    # The gaps that fill up the last segment come last: what is left after n - 1 rows is theirs.
    return torch.stack(seen, 1).flatten(0, 1)[: segments.n - 1], x


def prepare(
    t: Tensor, data: Tensor, method: str, steps: int, *, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Method]:
    """Check and convert what every fit is given: t (n,), data (n, ...), a fixed-step method, steps a gap."""
    if not isinstance(data, Tensor) or data.ndim < 2:
        raise ValueError("data: expected a tensor of shape (n, ..., d), a row for each time.")
    if not torch.isfinite(data).all():
        raise ValueError("data: has NaN or infinite entries; leave out the times that were not observed.")
    data = data.detach().to(dtype)
    t = check_times(t, data)
    if len(t) != len(data):
        raise ValueError(f"data: has {len(data)} rows for {len(t)} times; give one row a time.")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps: expected a whole number of at least 1, got {steps!r}.")
    return t, data, find_method(method)
