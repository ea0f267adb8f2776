"""The linear map K of a Hamiltonian layer, dense or convolutional, its adjoint, and the derivatives of both.

K maps z to y and its adjoint Kᵀ maps y to z, ⟨K z, y⟩ = ⟨z, Kᵀ y⟩; they share one array of weights W. A convolution is
a matrix with most entries zero and the rest repeated: its adjoint is a transposed convolution with the same kernel.
The ``_vjp`` methods are written by hand for the reversible backward pass: from d = ∂loss/∂output they give the
gradients with respect to the input, the weights and the bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Gradients = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Dense:
    """K z = W z on rows: W (m, n), z (batch, n), y (batch, m)."""

    def apply(self, W: Tensor, z: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.linear(z, W, bias)

    def adjoint(self, W: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.linear(y, W.mT, bias)

    def apply_vjp(self, W: Tensor, z: Tensor, d: Tensor) -> Gradients:
        return d @ W, d.mT @ z, d.sum(0)

    def adjoint_vjp(self, W: Tensor, y: Tensor, d: Tensor) -> Gradients:
        return d @ W.mT, y.mT @ d, d.sum(0)


@dataclass(frozen=True)
class Conv2d:
    """K z = z convolved with the kernel W (m, n, k, k): z (batch, n, H, W), y (batch, m, H', W').

    With a stride, several sizes of z lead to one size of y, and the adjoint must be told which: ``size`` is (H, W) of
    z. Without it the adjoint returns the smallest, which for stride 2 and even H is one row and one column short.
    """

    stride: int = 1
    padding: int = 1
    dilation: int = 1
    size: tuple[int, int] | None = None

    def apply(self, W: Tensor, z: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.conv2d(z, W, bias, self.stride, self.padding, self.dilation)

    def adjoint(self, W: Tensor, y: Tensor, bias: Tensor | None = None) -> Tensor:
        extra = self.output_padding(W, y)
        return functional.conv_transpose2d(y, W, bias, self.stride, self.padding, extra, dilation=self.dilation)

    def output_padding(self, W: Tensor, y: Tensor) -> list[int]:
        """Rows and columns by which z is larger than the smallest array that K maps to the shape of y."""
        if self.size is None:
            return [0, 0]
        smallest = [(m - 1) * self.stride - 2 * self.padding + self.dilation * (k - 1) + 1
                    for m, k in zip(y.shape[2:], W.shape[2:], strict=True)]
        return [n - m for n, m in zip(self.size, smallest, strict=True)]

    def apply_vjp(self, W: Tensor, z: Tensor, d: Tensor) -> Gradients:
        return self.vjp(W, z, d, transposed=False, extra=[0, 0])

    def adjoint_vjp(self, W: Tensor, y: Tensor, d: Tensor) -> Gradients:
        return self.vjp(W, y, d, transposed=True, extra=self.output_padding(W, y))

    def vjp(self, W: Tensor, x: Tensor, d: Tensor, *, transposed: bool, extra: list[int]) -> Gradients:
        stride, padding, dilation = ([k, k] for k in (self.stride, self.padding, self.dilation))
        # torch.nn.grad offers the same operator in pieces. Its sum over the bias is slow for transposed convolutions.
        dx, dW, _ = torch.ops.aten.convolution_backward(
            d, x, W, None, stride, padding, dilation, transposed, extra, 1, [True, True, False]
        )
        return dx, dW, d.sum((0, 2, 3))


Operator = Dense | Conv2d


def adjoint_gap(K: Operator, W: Tensor, z: Tensor, y: Tensor) -> float:
    """Size of ⟨K z, y⟩ - ⟨z, Kᵀ y⟩ over ‖K z‖ ‖y‖: that of rounding if the two maps are adjoint to each other."""
    image = K.apply(W, z)
    gap = ((image * y).sum() - (z * K.adjoint(W, y)).sum()).abs()
    return float(gap / (image.norm() * y.norm()))
