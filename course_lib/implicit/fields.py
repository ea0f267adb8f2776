"""Fields F whose Jacobian is skew up to a positive diagonal: dense, with its Jacobian by hand, and convolutional."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPES = {"tanh": lambda s: 1 - s * s, "relu": lambda s: (s > 0).to(s.dtype), "identity": torch.ones_like}
FUNCTIONS = {"tanh": torch.tanh, "relu": torch.relu, "identity": lambda s: s}


def _draw(*shape: int, bound: float, generator: torch.Generator | None, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter((torch.rand(*shape, generator=generator, dtype=dtype) * 2 - 1) * bound)


class SkewField(nn.Module):
    """F(y) = σ(Ay + b) with A = K - Kᵀ, K a free (width, width) matrix, as in both examples of the paper.

    ``runs`` gives K and b a leading axis, (runs, width, width) and (runs, 1, width), for states (runs, batch, width):
    independent fields that train together. K starts as Glorot's uniform draw, b at 0.
    """

    def __init__(self, width: int, *, activation: str = "tanh", runs: int | None = None,
                 generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32):
        super().__init__()
        if activation not in FUNCTIONS:
            raise ValueError(f"activation: {activation!r} is unknown; choose one of {', '.join(FUNCTIONS)}.")
        self.activation, self.width = activation, width
        lead = () if runs is None else (runs,)
        self.K = _draw(*lead, width, width, bound=math.sqrt(3 / width), generator=generator, dtype=dtype)
        self.b = nn.Parameter(torch.zeros(*lead, *([1] if lead else []), width, dtype=dtype))

    def matrix(self) -> Tensor:
        """A = K - Kᵀ, skew: its eigenvalues are imaginary, and A has their sizes as singular values."""
        return self.K - self.K.mT

    def forward(self, y: Tensor) -> Tensor:
        # Rows are states, so y Aᵀ = y (-A).
        A = self.K.mT - self.K
        s = torch.baddbmm(self.b, y, A) if self.K.ndim == 3 else torch.addmm(self.b, y, A)
        return FUNCTIONS[self.activation](s)

    def jacobian(self, y: Tensor, Fy: Tensor | None = None) -> Tensor:
        """diag(σ'(Ay + b)) A of every sample, shape (samples..., width, width); Fy is F(y), if it is known."""
        with torch.no_grad():
            slope = SLOPES[self.activation](self.forward(y) if Fy is None else Fy)
            A = self.matrix()
            return slope.unsqueeze(-1) * (A if self.K.ndim == 2 else A.unsqueeze(1))

    def vjp(self, y: Tensor, Fy: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """v -> Jᵀv at y, shaped like y: Aᵀ diag(σ'(Ay + b)) v, a product of matrices for the whole batch."""
        with torch.no_grad():
            slope, A = SLOPES[self.activation](self.forward(y) if Fy is None else Fy), self.matrix()
        return lambda v: (slope * v) @ A


class ConvField(nn.Module):
    """F(y) = tanh(K * y - Kᵀ * y + b): a convolution less its adjoint, states (batch, channels, height, width)."""

    def __init__(self, channels: int, *, kernel: int = 3, scale: float = 1.0,
                 generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32):
        super().__init__()
        bound = scale * math.sqrt(3 / (channels * kernel * kernel))
        self.K = _draw(channels, channels, kernel, kernel, bound=bound, generator=generator, dtype=dtype)
        self.b = nn.Parameter(torch.zeros(channels, dtype=dtype))
        self.padding = kernel // 2

    def forward(self, y: Tensor) -> Tensor:
        # The adjoint of a convolution of stride 1 is the convolution with the kernel flipped and its channels swapped.
        kernel = self.K - self.K.transpose(0, 1).flip(-1, -2)
        return torch.tanh(functional.conv2d(y, kernel, self.b, padding=self.padding))
