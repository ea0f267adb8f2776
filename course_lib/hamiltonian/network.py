"""The published Hamiltonian network for CIFAR-10 by one call, and the table of its layers.

S. Rome, *Using ordinary differential equations to design state of the art residual-style layers* (2018): a stem, six
Hamiltonian units of 16 to 1024 channels, channels added by zeros, 3,157,914 parameters by Keras' count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .layers import HamiltonianConv2d

WIDTHS = (16, 64, 128, 256, 512, 1024)
POOLED = (True, False, False, True, True, True)  # a 2×2 average after the unit; the last one averages what is left


class ChannelZeroPadding(nn.Module):
    """C channels to factor · C by appending zeros: room for more features, and no parameter. (batch, C, ...)."""

    def __init__(self, factor: int):
        super().__init__()
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(f"factor: expected a whole number of at least 1, got {factor!r}.")
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        zeros = x.new_zeros(x.shape[0], (self.factor - 1) * x.shape[1], *x.shape[2:])
        return torch.cat((x, zeros), 1)

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


def hamiltonian_network(
    widths: Sequence[int] = WIDTHS,
    pooled: Sequence[bool] = POOLED,
    *,
    in_channels: int = 3,
    classes: int = 10,
    stem: int = 7,
    steps: int = 4,
    h: float = 0.15,
    method: str = "euler",
    generator: torch.Generator | None = None,
    **options,
) -> nn.Sequential:
    """The published network; its defaults give 3,157,882 trainable parameters for images (batch, 3, 32, 32).

    Parameters
    ----------
    widths, pooled
        Channels of each unit, each a whole multiple of the one before, and whether a 2×2 average follows; after the
        last unit what is left of the image is averaged over its whole extent.
    in_channels, classes, stem
        Channels of the image, number of outputs, and size of the first convolution's kernel.
    steps, h, method
        Of every Hamiltonian unit; published: 4, 0.15, "euler".
    generator
        Draws the weights (He's normal law); None draws from torch's global one.
    options
        Passed to ``HamiltonianConv2d``: shared, reversible, activation, kernel_size, ...

    Returns
    -------
    Sequential
        (batch, in_channels, H, W) to logits (batch, classes).
    """
    opening = nn.Conv2d(in_channels, widths[0], stem, padding=stem // 2)
    layers: list[nn.Module] = [he_normal(opening, generator), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for k, (width, pool) in enumerate(zip(widths, pooled, strict=True)):
        if k:
            layers.append(ChannelZeroPadding(growth(widths[k - 1], width)))
        layers.append(HamiltonianConv2d(width, steps=steps, h=h, method=method, generator=generator, **options))
        if k == len(widths) - 1:
            layers.append(nn.AdaptiveAvgPool2d(1))
        elif pool:
            layers.append(nn.AvgPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), he_normal(nn.Linear(widths[-1], classes), generator))


def growth(before: int, after: int) -> int:
    if after % before:
        raise ValueError(f"widths: zero padding makes {before} channels a multiple of {before}, which {after} is not.")
    return after // before


def he_normal(layer: nn.Conv2d | nn.Linear, generator: torch.Generator | None) -> nn.Module:
    """Weights N(0, 2/fan_in), biases 0, in place (He et al., arXiv 1502.01852, equation 10)."""
    with torch.no_grad():
        nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()), generator=generator)
        layer.bias.zero_()
    return layer


@dataclass(frozen=True)
class Row:
    """One layer: its name, the shape of its output without the batch, its parameters, and how many are not trained."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    fixed: int


@dataclass(frozen=True)
class Summary:
    """The layer table of a network; prints itself. Batch norm's running statistics count as parameters not trained."""

    rows: list[Row]

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def fixed(self) -> int:
        return sum(row.fixed for row in self.rows)

    def __str__(self) -> str:
        lines = [f"{'layer':<22}{'output':<16}{'parameters':>12}"]
        lines += [f"{r.name:<22}{' × '.join(map(str, r.shape)):<16}{r.parameters:>12,}" for r in self.rows]
        lines += [f"{'all':<38}{self.parameters:>12,}", f"{'trained':<38}{self.parameters - self.fixed:>12,}",
                  f"{'running statistics':<38}{self.fixed:>12,}"]
        return "\n".join(lines)


def summary(net: nn.Sequential, x: Tensor) -> Summary:
    """The layers of a network one by one, as x (batch, ...) goes through them; leaves the network as it was."""
    training, rows = net.training, []
    net.eval()
    with torch.no_grad():
        for layer in net:
            x = layer(x)
            trained = sum(p.numel() for p in layer.parameters())
            # PyTorch's own count of batches is bookkeeping, and Keras has none.
            fixed = sum(b.numel() for name, b in layer.named_buffers() if not name.endswith("num_batches_tracked"))
            rows.append(Row(type(layer).__name__, tuple(x.shape[1:]), trained + fixed, fixed))
    net.train(training)
    return Summary(rows)
