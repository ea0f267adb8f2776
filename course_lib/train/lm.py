"""Levenberg–Marquardt: damped Gauss–Newton steps for sums of squares, for one problem or for rows of problems.

A step solves the linear least-squares problem ‖r + J d‖² + damping ‖D d‖², J = dr/dp (Levenberg 1944, Marquardt 1963).
D holds the column norms of J, so that the units of p have no say. For nets these are a poor measure: a weight that
happens not to matter here would be let go far. `floor` adds the columns' mean square to each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

Residual = Callable[[Tensor], Tensor]


class Linearised:
    """r + J d, shapes (..., m) and (..., m, n), reduced once so that a step for any damping is cheap.

    With m >= n by a QR decomposition, which does not square the condition of J as the normal equations do; else by the
    smaller system (J D⁻² Jᵀ + damping) y = r, d = -D⁻² Jᵀ y.
    """

    def __init__(self, r: Tensor, J: Tensor, *, floor: float = 0.0):
        squares = J.square().sum(-2)
        least = (floor**2 + 1e-24) * squares.mean(-1, keepdim=True)
        self.scale = (squares + least).clamp_min(torch.finfo(J.dtype).tiny).sqrt()
        self.scaled, self.wide = J / self.scale.unsqueeze(-2), J.shape[-2] < J.shape[-1]
        if self.wide:
            self.system, self.right = self.scaled @ self.scaled.mT, r.unsqueeze(-1)
        else:
            q, self.system = torch.linalg.qr(self.scaled)
            self.right = q.mT @ r.unsqueeze(-1)

    def step(self, damping: float | Tensor) -> tuple[Tensor, Tensor]:
        """d, (..., n), and what it promises, ‖r‖² - ‖r + J d‖², (...), for a damping of shape (...).

        Not finite where the damping is too small for the arithmetic: raise it.
        """
        damping = torch.as_tensor(damping, dtype=self.scaled.dtype, device=self.scaled.device)[..., None, None]
        eye = torch.eye(self.system.shape[-1], dtype=self.scaled.dtype, device=self.scaled.device)
        if self.wide:
            factor, fault = torch.linalg.cholesky_ex(self.system + damping * eye)
            d = -(self.scaled.mT @ torch.cholesky_solve(self.right, factor))
            d = torch.where(fault[..., None, None] == 0, d, torch.nan)
        else:
            below = (damping.sqrt() * eye).expand_as(self.system)
            rows = torch.cat((self.system, below), -2)
            d = torch.linalg.lstsq(rows, torch.cat((-self.right, torch.zeros_like(self.right)), -2)).solution
        promised = (self.scaled @ d).square().sum((-2, -1)) + 2 * damping[..., 0, 0] * d.square().sum((-2, -1))
        return d.squeeze(-1) / self.scale, promised


def lowered(damping: Tensor, gain: Tensor, least: float = 0.1) -> Tensor:
    """The damping after a step that gained `gain` times what it promised (Nielsen 1999)."""
    return damping * (1 - (2 * gain - 1) ** 3).clamp_min(least)


def jacobian(residual: Residual, p: Tensor) -> tuple[Tensor, Tensor]:
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
        best, linear, raise_by = r.dot(r), Linearised(r, J), 2.0
        for _ in range(group["tries"]):
            p = p0 + group["lr"] * linear.step(group["damping"])[0]
            new = residual(p)
            if new.dot(new) < best:
                group["damping"] = max(group["damping"] / 3, 1e-15)
                for weight, part in zip(named.values(), p.split([s.numel() for s in shapes]), strict=True):
                    weight.copy_(part.view_as(weight))
                break
            group["damping"], raise_by = min(group["damping"] * raise_by, 1e15), 2 * raise_by
        return best / r.numel(), 2 / r.numel() * (J.T @ r).norm()
