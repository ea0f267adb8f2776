"""The residual branch of Chen et al. 2018 (arXiv 1806.07366) for images, as a residual block and as a field.

After the authors' example script: pre-activation, group norms, 3 × 3 convolutions; the field is normed at its end too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), 3x3 convolutions without biases; x (batch, channels, h, w)."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(groups, channels) for _ in range(2))
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class ConvField(nn.Module):
    """f(t, x): the residual branch, normed at its end, with the time as one more channel before each convolution.

    That channel is constant, so what a convolution makes of it is t times a map of one kernel: it is computed once for
    the batch, on its own, and the convolution of x keeps as many channels in as out, which is a quarter quicker.
    """

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(groups, channels) for _ in range(3))
        self.conv1, self.conv2 = (nn.Conv2d(channels + 1, channels, 3, padding=1) for _ in range(2))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        t = torch.as_tensor(t).to(x).expand(1, 1, *x.shape[2:])
        for norm, conv in ((self.norm1, self.conv1), (self.norm2, self.conv2)):
            from_t = F.conv2d(t, conv.weight[:, :1], conv.bias, padding=1)
            x = F.conv2d(F.relu(norm(x)), conv.weight[:, 1:], padding=1).add_(from_t)
        return self.norm3(x)
