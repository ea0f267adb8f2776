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
    """f(t, x): the residual branch, normed at its end, with the time as one more channel before each convolution."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(groups, channels) for _ in range(3))
        self.conv1, self.conv2 = (nn.Conv2d(channels + 1, channels, 3, padding=1) for _ in range(2))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        for norm, conv in ((self.norm1, self.conv1), (self.norm2, self.conv2)):
            x = F.relu(norm(x))
            x = conv(torch.cat((torch.as_tensor(t).to(x).expand(len(x), 1, *x.shape[2:]), x), 1))
        return self.norm3(x)
