"""Adam on a matrix of unknowns, one row a seed, stopped by what the fit is for.

Training losses of shooting or of a short window say little about the rollout that one wants in the end. So the rollout
is measured at intervals, stops a seed where it meets the target, and decides which weights are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from course_lib.train.objective import NonFiniteLoss

Scalar = Callable[[Tensor], Tensor]
TRACE_FROM = {True: 1500, False: 200}  # epochs from which tracing (some 1.5 s, once) pays: one row; several


class Descent(NamedTuple):
    """p: (seeds, n) unknowns with the least rollout measured; rollout: that, (seeds,); best: its epoch, (seeds,);
    losses: (epochs, seeds), NaN after a seed stopped; checks: (k,) epochs at which rollouts, (k, seeds), were taken;
    failed: (seeds,) epoch at which a seed's loss or gradient was not finite, else -1."""

    p: Tensor
    rollout: Tensor
    best: Tensor
    losses: Tensor
    checks: Tensor
    rollouts: Tensor
    failed: Tensor
    seconds: float


def adam(p: Tensor, *, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> Callable[[Tensor, float], None]:
    """A function step(gradient, lr) that changes p in place (Kingma and Ba 2015, algorithm 1).

    torch.optim's is as fast, but its import takes longer than many of these fits.
    """
    m, v, count = torch.zeros_like(p), torch.zeros_like(p), 0

    def step(g: Tensor, lr: float) -> None:
        nonlocal count
        count += 1
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        p.addcdiv_(m, (v / (1 - beta2**count)).sqrt_().add_(eps), value=-lr / (1 - beta1**count))

    return step


def gradient_of(loss: Scalar, p: Tensor, traced: bool) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """p (seeds, n) -> gradients (seeds, n) and losses (seeds,) of loss: (n,) -> scalar."""
    stacked = vmap(grad_and_value(loss))
    if traced:
        from torch.fx.experimental.proxy_tensor import make_fx

        from course_lib.train.traced import simplify

        with torch.no_grad():
            return simplify(make_fx(stacked)(p))
    if len(p) > 1:
        return stacked

    def single(p: Tensor) -> tuple[Tensor, Tensor]:  # plain autograd: without vmap an operation costs a third
        with torch.enable_grad():
            row = p[0].detach().requires_grad_()
            value = loss(row)
            (g,) = torch.autograd.grad(value, row)
        return g.unsqueeze(0), value.detach().unsqueeze(0)

    return single


@torch.no_grad()
def descend(
    loss: Scalar, rollout: Scalar, p: Tensor, *, epochs: int, lr: float, schedule: Callable[[float], float] | None,
    clip: float | None, target: float | None, every: int, traced: bool | None,
) -> Descent:
    """Minimise loss over each row of p by Adam; see ``multiple_shooting`` for the arguments.

    Raises
    ------
    NonFiniteLoss
        If every seed's loss or gradient stopped being finite before its rollout was ever measured finite.
    """
    started, p = time.perf_counter(), p.detach().clone()
    if traced is None:
        traced = epochs >= TRACE_FROM[len(p) == 1]
    gradient, step = gradient_of(loss, p, traced), adam(p)
    measure = vmap(rollout) if len(p) > 1 else lambda p: rollout(p[0]).unsqueeze(0)
    rows = len(p)
    kept, best, at = p.clone(), p.new_full((rows,), torch.inf), torch.zeros(rows, dtype=torch.long)
    active, failed = torch.ones(rows, dtype=torch.bool), torch.full((rows,), -1)
    losses, checks, rollouts = [], [], []

    def check(epoch: int) -> None:
        value = measure(p).nan_to_num(nan=torch.inf, posinf=torch.inf)
        checks.append(epoch)
        rollouts.append(torch.where(active, value, rollouts[-1] if rollouts else value))
        better = active & (value < best)
        kept[better], best[better], at[better] = p[better], value[better], epoch
        if target is not None:
            active.logical_and_(best > target)

    check(0)
    for epoch in range(1, epochs + 1):
        if not active.any():
            break
        g, value = gradient(p)
        if not torch.isfinite(g.sum() + value.sum()):
            bad = active & ~(torch.isfinite(g).all(1) & torch.isfinite(value))
            failed[bad], active[bad] = epoch, False
            p[bad], g[bad] = kept[bad], 0.0
            g = g.nan_to_num(0.0, 0.0, 0.0)
        losses.append(torch.where(active, value, torch.nan))
        if clip is not None:
            g = g * (clip / (g.norm(dim=1, keepdim=True) + 1e-12)).clamp(max=1.0)
        step(g, lr if schedule is None else lr * schedule((epoch - 1) / epochs))
        if epoch % every == 0 or epoch == epochs:
            check(epoch)
    if not torch.isfinite(best).any():
        raise NonFiniteLoss("the loss, its gradient or every rollout", step=int(failed.max()), lr=lr)
    history = torch.stack(losses) if losses else p.new_zeros((0, rows))
    seconds = time.perf_counter() - started
    return Descent(kept, best, at, history, torch.tensor(checks), torch.stack(rollouts), failed, seconds)
