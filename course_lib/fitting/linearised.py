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
from torch.func import vmap

from course_lib.integrators.explicit import Method

from .segments import Segments
from .sensitivities import slopes
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


@torch.no_grad()
def rollout_and_jacobian(
    weights: Weights, p: Tensor, x: Tensor, pieces: Segments, rule: Method, steps: int, *, free: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """States at the ends of all gaps and their derivatives, for several seeds.

    Parameters
    ----------
    weights, p, x
        The field; its weights, (seeds, size); starts, (seeds, segments, \\*batch, d). Each row of the batch must be
        treated by itself.
    free
        Whether derivatives by the starts are wanted too.

    Returns
    -------
    tuple
        X, shape (seeds, segments, group, \\*batch, d); dX/dp, with a last axis (size,) more; dX/dx, with a last axis
        (d,) more, each by its own segment's start and batch row, or None.
    """
    if len(p) == 1:
        states = states_of(weights, p[0], x[0], pieces, rule, steps).unsqueeze(0)
    else:
        states = vmap(lambda p, x: states_of(weights, p, x, pieces, rule, steps))(p, x)
    gaps, d = pieces.t.shape[1], x.shape[-1]
    before = states[:, :, :-1].reshape(len(p), len(pieces.t), gaps * steps, -1, d)
    h = (pieces.h / steps).repeat_interleave(steps, 1)
    t = pieces.t.repeat_interleave(steps, 1) + h * torch.arange(steps, device=x.device).repeat(gaps)
    every = before.shape[:-1]  # (seeds, segments, steps of a segment, rows of the batch)

    def step(p: Tensor, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
        return weights.run(p, rule.step, t, x.unsqueeze(0), h).squeeze(0)

    with torch.enable_grad():  # plain autograd through vmap: torch.func's own derivatives import the compiler first
        copies = p.view(len(p), 1, 1, 1, -1).expand(*every, -1).reshape(-1, p.shape[1]).requires_grad_()
        inputs = before.reshape(-1, d).clone().requires_grad_()
        at, size = (v.view(1, *v.shape, 1).expand(every).reshape(-1) for v in (t, h))
        by_p, by_x = slopes(vmap(step)(copies, at, inputs, size), copies, inputs)
    by_p, by_x = (v.view(*every, d, -1).movedim(2, 0).flatten(1, 3) for v in (by_p, by_x))

    def shaped(S: Tensor) -> Tensor:
        S = S.view(gaps, len(p), len(pieces.t), every[3], d, -1).movedim(0, 2)
        return S.reshape(*S.shape[:3], *x.shape[2:], -1)

    eye = torch.eye(d, dtype=x.dtype, device=x.device)
    along = shaped(chain(torch.zeros_like(by_x), by_x, steps, eye)) if free else None
    return states[:, :, steps::steps], shaped(chain(by_p, by_x, steps)), along


def chain(forcing: Tensor, by_x: Tensor, steps: int, first: Tensor | None = None) -> Tensor:
    """S_{k+1} = by_x[k] S_k + forcing[k], (steps, rows, d, ·), at the end of every gap; S_0 = first, or zero."""
    S = forcing[0] if first is None else forcing[0] + by_x[0] @ first
    kept = [S] if steps == 1 else []
    for k in range(1, len(forcing)):
        S = torch.baddbmm(forcing[k], by_x[k], S)
        if (k + 1) % steps == 0:
            kept.append(S)
    return torch.stack(kept)
