"""Rollouts of a neural field with their derivatives by its weights and by their starts.

The derivative of a rollout is a product of those of its steps. Once the states are known, the steps' own derivatives
need no order: all of them, of all segments, are computed as one batch, and only the small products

    S_{k+1} = (dstep/dx) S_k + dstep/dp

are left to be done one after another. The result is the exact derivative of what was computed, not of the equation
("internal numerical differentiation", Bock 1981), and costs about as much as the rollout.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from course_lib.integrators.explicit import Method

from .segments import Segments
from .weights import Weights


def states_of(weights: Weights, p: Tensor, x: Tensor, pieces: Segments, rule: Method, steps: int) -> Tensor:
    """The states from x, (segments, \\*state), on after every step: (segments, group·steps + 1, \\*state)."""
    one = (-1, *[1] * (x.ndim - 1))

    def go(field, x: Tensor) -> Tensor:
        states = [x]
        for t, h in zip(pieces.t.unbind(1), pieces.h.unbind(1), strict=True):
            t, h = t.reshape(one), h.reshape(one) / steps
            for k in range(steps):
                states.append(rule.step(field, t + k * h, states[-1], h))
        return torch.stack(states, 1)

    return weights.run(p, go, x)


def rollout_and_jacobian(
    weights: Weights, p: Tensor, x: Tensor, pieces: Segments, rule: Method, steps: int, *, free: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """States at the ends of all gaps and their derivatives.

    Parameters
    ----------
    weights, p, x
        The field's weights, p of shape (size,); starts of the segments, (segments, \\*batch, d). Each row of the batch
        must be treated by itself.
    free
        Whether derivatives by the starts are wanted too.

    Returns
    -------
    tuple
        X, shape (segments, group, \\*batch, d); dX/dp, with a last axis (size,) more; dX/dx, with a last axis (d,)
        more, each by its own segment's start and batch row, or None.
    """
    states = states_of(weights, p, x, pieces, rule, steps)
    count, length, d = len(x), pieces.t.shape[1] * steps, x.shape[-1]
    before = states[:, :-1].reshape(count, length, -1, d)
    rows = before.shape[2]
    h = (pieces.h / steps).repeat_interleave(steps, 1)
    t = pieces.t.repeat_interleave(steps, 1) + h * torch.arange(steps, device=x.device).repeat(pieces.t.shape[1])

    def step(p: Tensor, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
        return weights.run(p, rule.step, t, x.unsqueeze(0), h).squeeze(0)

    each = vmap(jacrev(step, argnums=(0, 2)), in_dims=(None, 0, 0, 0))
    by_p, by_x = each(
        p, t.reshape(-1).repeat_interleave(rows), before.reshape(-1, d), h.reshape(-1).repeat_interleave(rows)
    )
    by_p = by_p.view(count, length, rows, d, -1).transpose(0, 1).flatten(1, 2)
    by_x = by_x.view(count, length, rows, d, d).transpose(0, 1).flatten(1, 2)
    S, along = chain(by_p, by_x, steps), None
    shape = (-1, pieces.t.shape[1], *x.shape[1:])
    if free:
        along = chain(torch.zeros_like(by_x), by_x, steps, torch.eye(d, dtype=x.dtype, device=x.device))
        along = along.view(-1, count, rows, d, d).transpose(0, 1).reshape(*shape, d)
    S = S.view(-1, count, rows, d, weights.size).transpose(0, 1).reshape(*shape, weights.size)
    return states[:, steps::steps], S, along


def chain(forcing: Tensor, by_x: Tensor, steps: int, first: Tensor | None = None) -> Tensor:
    """S_{k+1} = by_x[k] S_k + forcing[k], (steps, rows, d, ·), at the end of every gap; S_0 = first, or zero."""
    S = forcing[0] if first is None else forcing[0] + by_x[0] @ first
    kept = [S] if steps == 1 else []
    for k in range(1, len(forcing)):
        S = torch.baddbmm(forcing[k], by_x[k], S)
        if (k + 1) % steps == 0:
            kept.append(S)
    return torch.stack(kept)
