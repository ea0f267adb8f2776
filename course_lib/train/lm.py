"""Levenberg–Marquardt for small least-squares fits, on Jacobian products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap


def jacobian(residual: Callable[[Tensor], Tensor], p: Tensor) -> tuple[Tensor, Tensor]:
    """r (m,) and J = dr/dp (m, n) at p (n,), from Jacobian products: J v, all at once, where n <= m, else vᵀ J."""
    r = residual(p)
    if p.numel() <= r.numel():
        columns = vmap(lambda v: jvp(residual, (p,), (v,))[1])(torch.eye(p.numel(), dtype=p.dtype, device=p.device))
        return r, columns.T
    _, pull = vjp(residual, p)
    return r, vmap(lambda v: pull(v)[0])(torch.eye(r.numel(), dtype=p.dtype, device=p.device))


class LevenbergMarquardt(torch.optim.Optimizer):
    """Minimise the mean of (model(x) - y)² by damped Gauss–Newton steps (Levenberg 1944, Marquardt 1963).

    A step solves (JᵀJ + λ diag(JᵀJ)) δ = -Jᵀr and takes p + lr δ if that lowers the sum of squares, dividing λ by 3;
    else λ grows by 2, 4, 8, ... and the step is tried again, at most `tries` times (Nielsen 1999). `lr` (1: the full
    step) is there for schedules. For up to a few hundred weights: J is dense, at a product a weight or a residual.
    """

    def __init__(self, params, lr: float = 1.0, *, damping: float = 1e-3, tries: int = 12):
        super().__init__(params, {"lr": lr, "damping": damping, "tries": tries})
        if len(self.param_groups) != 1:
            raise ValueError("LevenbergMarquardt takes one group of parameters")

    @torch.no_grad()
    def step(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """One step on model(x) against y; returns the mean square before it and the norm of its gradient."""
        group = self.param_groups[0]
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        shapes = [p.shape for p in named.values()]
        p0 = torch.cat([p.reshape(-1) for p in named.values()])

        def residual(p: Tensor) -> Tensor:
            parts = p.split([s.numel() for s in shapes])
            weights = {k: v.view(s) for k, v, s in zip(named, parts, shapes, strict=True)}
            return (functional_call(model, weights, (x,)) - y).reshape(-1)

        r, J = jacobian(residual, p0)
        gradient, normal, best = J.T @ r, J.T @ J, r.dot(r)
        scale = normal.diagonal().clamp(min=1e-12 * normal.diagonal().max().item())
        raise_by = 2.0
        for _ in range(group["tries"]):
            factor, fault = torch.linalg.cholesky_ex(normal + group["damping"] * scale.diag())
            if fault == 0:
                p = p0 - group["lr"] * torch.cholesky_solve(gradient[:, None], factor)[:, 0]
                new = residual(p)
                if new.dot(new) < best:
                    group["damping"] = max(group["damping"] / 3, 1e-15)
                    for weight, part in zip(named.values(), p.split([s.numel() for s in shapes]), strict=True):
                        weight.copy_(part.view_as(weight))
                    break
            group["damping"], raise_by = min(group["damping"] * raise_by, 1e15), 2 * raise_by
        return best / r.numel(), 2 / r.numel() * gradient.norm()
