"""Reversible backpropagation: the backward pass rebuilds the states from the output instead of keeping them.

Only the output and the weights are saved, whatever the depth. Going back through the shears, each one is undone
(y - c h σ(K z + b1) with the z that is known) and its vector–Jacobian product is taken by hand; one evaluation of
σ(...) serves both. The algebra is exact; the arithmetic is not: rounding is carried back, and grows where the layer
grows.
After Gomez, Ren, Urtasun and Grosse, *The reversible residual network* (arXiv 1707.04585), algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .operators import Operator
from .shears import Shear

aten = torch.ops.aten

# σ in place; and from g = ∂loss/∂σ and the value s of σ the product of g with σ', written over s.
ACTIVATIONS = {
    "relu": (torch.relu_, lambda g, s: aten.threshold_backward.grad_input(g, s, 0, grad_input=s)),
    "tanh": (torch.tanh_, lambda g, s: aten.tanh_backward.grad_input(g, s, grad_input=s)),
}


class ReconstructionError(ArithmeticError):
    """The states rebuilt in the backward pass have drifted from the true ones, so the gradient would be wrong."""


@dataclass(frozen=True)
class Plan:
    """What the pass has to do: K, the name of σ, the step size, the shears, and after how many of them to check."""

    K: Operator
    activation: str
    h: float
    shears: list[Shear]
    check_every: int | None = None
    tolerance: float | None = None


def increment(plan: Plan, shear: Shear, y: Tensor, z: Tensor, W: Tensor, negative: Tensor, b: Tensor) -> Tensor:
    """σ(K z + b) or σ(-Kᵀ y + b); ``negative`` is -W."""
    a = plan.K.apply(W, z, b) if shear.half == "y" else plan.K.adjoint(negative, y, b)
    return ACTIVATIONS[plan.activation][0](a)


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Copies of the two halves of axis 1, to be worked on in place."""
    y, z = x.chunk(2, 1)
    return y.clone(), z.clone()


class ReversiblePass(torch.autograd.Function):
    """x (batch, 2m, ...) through all shears; ``weights`` are the kernels, then all b1, then all b2."""

    @staticmethod
    def forward(ctx, plan: Plan, x: Tensor, *weights: Tensor) -> Tensor:
        n = len(weights) // 3
        negatives = [-W for W in weights[:n]]
        y, z = halves(x)
        kept = []
        for k, shear in enumerate(plan.shears):
            if plan.check_every and k and k % plan.check_every == 0:
                kept.append(torch.cat((y, z), 1))
            b = weights[(n if shear.half == "y" else 2 * n) + shear.layer]
            s = increment(plan, shear, y, z, weights[shear.layer], negatives[shear.layer], b)
            (y if shear.half == "y" else z).add_(s, alpha=shear.c * plan.h)
        out = torch.cat((y, z), 1)
        ctx.plan, ctx.weights, device = plan, n, x.device.type
        ctx.cast = {"device_type": device, "dtype": torch.get_autocast_dtype(device),
                    "enabled": torch.is_autocast_enabled(device)}
        ctx.save_for_backward(out, *weights, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        plan, n = ctx.plan, ctx.weights
        out, *saved = ctx.saved_tensors
        weights, kept = saved[: 3 * n], saved[3 * n :]
        negatives, grads = [-W for W in weights[:n]], [torch.zeros_like(W) for W in weights]
        (y, z), (gy, gz) = halves(out), halves(grad)
        for k, shear in reversed(list(enumerate(plan.shears))):
            in_y, layer, c = shear.half == "y", shear.layer, shear.c * plan.h
            at = (n if in_y else 2 * n) + layer
            with torch.autocast(**ctx.cast):
                s = increment(plan, shear, y, z, weights[layer], negatives[layer], weights[at])
            (y if in_y else z).sub_(s, alpha=c)
            # Under autocast s is in the low precision, and so is all that the kernels see.
            d = ACTIVATIONS[plan.activation][1]((gy if in_y else gz).to(s.dtype), s)
            if in_y:
                dx, dW, db = plan.K.apply_vjp(weights[layer].to(s.dtype), z.to(s.dtype), d)
                gz.add_(dx, alpha=c)
                grads[layer].add_(dW, alpha=c)
            else:
                dx, dW, db = plan.K.adjoint_vjp(negatives[layer].to(s.dtype), y.to(s.dtype), d)
                gy.add_(dx, alpha=c)
                grads[layer].sub_(dW, alpha=c)
            grads[at].add_(db, alpha=c)
            if plan.check_every and k and k % plan.check_every == 0:
                y, z = compare(plan, k, y, z, kept.pop())
        return None, torch.cat((gy, gz), 1), *grads


def compare(plan: Plan, k: int, y: Tensor, z: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The kept halves, to go on from, if the rebuilt ones agree with them; else ReconstructionError."""
    tolerance = plan.tolerance or torch.finfo(kept.dtype).eps ** 0.5
    drift = float((torch.cat((y, z), 1) - kept).abs().max() / kept.abs().max())
    if not drift <= tolerance:
        raise ReconstructionError(
            f"reconstruction drifted by {drift:.1e} of the state (tolerance {tolerance:.1e}) at update {k} of "
            f"{len(plan.shears)}; use a smaller check_every, a smaller h, or float64."
        )
    return halves(kept)
