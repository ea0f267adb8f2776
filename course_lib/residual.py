"""Plain and residual dense nets; their gradients layer by layer, their cost, and blocks added or left out.

A residual block x + h F(x) is one step of Euler's method for x' = F(x) with step size h
(He et al., arXiv 1512.03385, equation 1, with h = 1; Haber and Ruthotto, arXiv 1705.03341).
States are (batch, width). All modules work under ``torch.func``, so that seeds can be trained together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


def uniform(weight: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Fill with draws from U(-bound, bound), in place."""
    nn.init.uniform_(weight, -bound, bound, generator=generator)


# Each fills a Linear of n inputs and m outputs in place.
INITS: dict[str, str] = {
    "pytorch": "weights and biases U(-1/√n, 1/√n): variance 1/(3n), the default of nn.Linear",
    "glorot": "weights U(-b, b) with b = √(6/(n+m)), biases 0 (Glorot and Bengio 2010, equation 16)",
    "he": "weights N(0, 2/n), biases 0 (He et al., arXiv 1502.01852, equation 10)",
    "small": "weights N(0, 0.01/n), biases 0: a layer that shrinks its input about tenfold",
    "zero": "weights and biases 0",
}


def initialise(linear: nn.Linear, init: str, *, generator: torch.Generator | None = None) -> nn.Linear:
    """Fill a Linear layer in place by one of ``INITS`` and return it; ValueError for another name."""
    n, m = linear.in_features, linear.out_features
    if init not in INITS:
        raise ValueError(f"init: {init!r} is unknown; choose one of {', '.join(INITS)}.")
    with torch.no_grad():
        linear.bias.zero_()
        if init == "pytorch":
            uniform(linear.weight, n**-0.5, generator)
            uniform(linear.bias, n**-0.5, generator)
        elif init == "glorot":
            uniform(linear.weight, math.sqrt(6 / (n + m)), generator)
        else:
            gain = {"he": 2.0, "small": 0.01, "zero": 0.0}[init]
            nn.init.normal_(linear.weight, std=math.sqrt(gain / n), generator=generator)
    return linear


def layer(
    n_in: int,
    n_out: int,
    *,
    activation: str = "tanh",
    init: str = "pytorch",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """A dense layer σ(Wx + b): (batch, n_in) to (batch, n_out). Without a generator it draws from torch's own."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: {activation!r} is unknown; choose one of {', '.join(ACTIVATIONS)}.")
    linear = initialise(nn.Linear(n_in, n_out, dtype=dtype), init, generator=generator)
    return nn.Sequential(linear, ACTIVATIONS[activation]())


class ResidualBlock(nn.Module):
    """x + h F(x): one Euler step of x' = F(x). F maps (batch, width) to the same shape."""

    def __init__(self, F: nn.Module, *, h: float = 1.0):
        super().__init__()
        self.F, self.h = F, h

    def forward(self, x: Tensor) -> Tensor:
        return x + self.h * self.F(x)


class DeepNet(nn.Module):
    """An opening map, blocks one after another, a head: x -> head(block_L(...block_1(opening(x))))."""

    def __init__(self, blocks: Iterable[nn.Module], *, opening: nn.Module | None = None, head: nn.Module | None = None):
        super().__init__()
        self.opening, self.head = opening or nn.Identity(), head or nn.Identity()
        self.blocks = nn.ModuleList(blocks)

    def states(self, x: Tensor) -> list[Tensor]:
        """The hidden states x_0, ..., x_L, each (batch, width): x_0 leaves the opening, x_L enters the head."""
        path = [self.opening(x)]
        for block in self.blocks:
            path.append(block(path[-1]))
        return path

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.states(x)[-1])


def plain_net(width: int, depth: int, **options) -> DeepNet:
    """``depth`` dense layers x <- σ(Wx + b) of one width; options as in ``residual_net``, less h and shared."""
    return _net(width, depth, lambda new_layer: [new_layer() for _ in range(depth)], **options)


def residual_net(width: int, depth: int, *, h: float = 1.0, shared: bool = False, **options) -> DeepNet:
    """``depth`` residual blocks x <- x + h σ(Wx + b) of one width.

    Parameters
    ----------
    h
        Step size, the same in every block.
    shared
        One F, hence one set of weights, for all blocks: Euler's method for the autonomous x' = F(x).
    n_in, n_out
        If given, a Linear from n_in to the width before the blocks, or from the width to n_out after them.
    activation, init
        A name in ``ACTIVATIONS`` ("tanh") and one in ``INITS`` ("pytorch"), for the blocks; opening and head always
        start as PyTorch's Linear does.
    seed
        Of the weights' own generator; None draws from torch's global one, as ``train.fit_seeds`` expects.
    dtype
        float32 unless given.
    """

    def blocks(new_layer):
        fields = [new_layer()] * depth if shared else [new_layer() for _ in range(depth)]
        return [ResidualBlock(F, h=h) for F in fields]

    return _net(width, depth, blocks, **options)


def _net(
    width: int,
    depth: int,
    make_blocks: Callable,
    *,
    n_in: int | None = None,
    n_out: int | None = None,
    activation: str = "tanh",
    init: str = "pytorch",
    seed: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> DeepNet:
    for name, value in {"width": width, "depth": depth}.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}.")
    generator = None if seed is None else torch.Generator().manual_seed(seed)

    def linear(n: int, m: int) -> nn.Linear:
        return initialise(nn.Linear(n, m, dtype=dtype), "pytorch", generator=generator)

    opening = None if n_in is None else linear(n_in, width)
    kinds = {"activation": activation, "init": init, "generator": generator, "dtype": dtype}
    blocks = make_blocks(lambda: layer(width, width, **kinds))
    return DeepNet(blocks, opening=opening, head=None if n_out is None else linear(width, n_out))


class Gradients(NamedTuple):
    """Euclidean norms of the loss's gradient: ``weights`` (L,) in each block's, ``states`` (L+1,) in x_0, ..., x_L."""

    weights: Tensor
    states: Tensor


def gradient_probe(net: DeepNet, x: Tensor, y: Tensor, loss: Callable = nn.functional.mse_loss) -> Gradients:
    """Norms of the gradient of loss(net(x), y), block by block. Use float64: float32 rounds a vanished one to 0."""
    path = net.states(x.detach().requires_grad_())
    sizes = [len(list(block.parameters())) for block in net.blocks]
    weights = [p for block in net.blocks for p in block.parameters()]
    grads = torch.autograd.grad(loss(net.head(path[-1]), y), weights + path)
    by_block = torch.split(torch.stack([g.norm() for g in grads[: len(weights)]]), sizes)
    return Gradients(torch.stack([g.norm() for g in by_block]), torch.stack([g.norm() for g in grads[len(weights) :]]))


def without_blocks(net: DeepNet, drop: Sequence[int]) -> DeepNet:
    """The net less the blocks at these places (from 0); the blocks that stay are shared, not copied."""
    gone = set(drop)
    if not gone <= set(range(len(net.blocks))):
        last = len(net.blocks) - 1
        raise ValueError(f"drop: {sorted(gone)} names a block that is not there; this net has 0 to {last}.")
    kept = [block for k, block in enumerate(net.blocks) if k not in gone]
    return DeepNet(kept, opening=net.opening, head=net.head)


def with_block(net: DeepNet, at: int, block: nn.Module) -> DeepNet:
    """The net with one more block, before the one at place ``at`` (from 0; L puts it last); the others are shared."""
    if not 0 <= at <= len(net.blocks):
        raise ValueError(f"at: {at} is not a place from 0 to {len(net.blocks)}.")
    blocks = list(net.blocks)
    return DeepNet([*blocks[:at], block, *blocks[at:]], opening=net.opening, head=net.head)


def count_weights(net: nn.Module) -> int:
    """Numbers stored: every parameter tensor once, however often it is used."""
    return sum(p.numel() for p in net.parameters())


def count_multiply_adds(net: nn.Module, x: Tensor) -> int:
    """Multiply–adds of the matrix products in one evaluation net(x), counted while it runs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x)
    return counter.get_total_flops() // 2
