"""``MLPField``: a small dense net as the field of x' = f(t, x)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, linear, silu, softplus

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh, "softplus": softplus, "elu": elu, "silu": silu, "sigmoid": torch.sigmoid, "relu": torch.relu,
}


class MLPField(nn.Module):
    """f(t, x) = W_D s(... s(W_0 x + b_0) ...) + b_D on the last axis of x, shape (..., dim), with activation s.

    Parameters
    ----------
    dim
        Size of the state.
    hidden
        Units of a hidden layer.
    depth
        Hidden layers, at least 1; ``MLPField(2, 50, depth=1)`` is the 2-50-2 net.
    activation
        "tanh", "softplus", "elu", "silu", "sigmoid"; or "relu", whose kinks cost an adaptive solver many steps.
    time
        Whether t is one more input of the first layer. Without it the field is autonomous, and t is ignored.
    seed
        Seed of the weights; None: torch's own random state.
    dtype
        Of the weights; torch's default unless given.
    """

    def __init__(self, dim: int, hidden: int, *, depth: int = 2, activation: str = "tanh", time: bool = False,
                 seed: int | None = None, dtype: torch.dtype | None = None):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation: {activation!r} is unknown; choose one of {', '.join(ACTIVATIONS)}.")
        if depth < 1:
            raise ValueError(f"depth: expected at least one hidden layer, got {depth!r}.")
        self.dim, self.time, self.activation = dim, time, ACTIVATIONS[activation]
        sizes = [dim + time, *[hidden] * depth, dim]
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            self.layers = nn.ModuleList(nn.Linear(a, b, dtype=dtype) for a, b in itertools.pairwise(sizes))

    def forward(self, t: Tensor | float, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"x: expected shape (..., {self.dim}), got {tuple(x.shape)}.")
        if self.time:
            t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
            x = torch.cat((x, t.expand(*x.shape[:-1], 1)), dim=-1)
        *hidden, last = self.layers
        for layer in hidden:  # by functions: calls of modules cost a small net more than its arithmetic
            x = self.activation(linear(x, layer.weight, layer.bias))
        return linear(x, last.weight, last.bias)
