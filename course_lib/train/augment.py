"""Augmentation of image batches where they are: shift, flip, cutout, drawn for every image, no loop, no host."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Random changes of images (batch, channels, height, width), drawn from the generator given, on its device.

    shift   largest shift in pixels, each way and direction: pad by so much, then crop to the size
    fill    what the padding shows: "zeros" (with crop: He et al. 2016) or "nearest" (the edge's values)
    flip    mirror left and right with probability 1/2
    cutout  side of a square set to zero, its centre anywhere in the image (DeVries and Taylor 2017); 0: none
    """

    shift: int = 0
    fill: str = "zeros"
    flip: bool = False
    cutout: int = 0

    def __post_init__(self):
        if self.fill not in {"zeros", "nearest"}:
            raise ValueError(f"fill={self.fill!r} is unknown: give 'zeros' or 'nearest'")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.shift:
            x = self._shift(x, generator)
        if self.flip:
            mirrored = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        return self._cut(x, generator) if self.cutout else x

    def _shift(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = x.shape
        padded = F.pad(x, 4 * [self.shift], mode="constant" if self.fill == "zeros" else "replicate")
        windows = padded.unfold(2, height, 1).unfold(
            3, width, 1
        )  # (n, channels, shifts, shifts, height, width), a view
        down, across = torch.randint(2 * self.shift + 1, (2, n), generator=generator, device=x.device)
        return windows[torch.arange(n, device=x.device), :, down, across]

    def _cut(self, x: Tensor, generator: torch.Generator) -> Tensor:
        inside = []
        for size in x.shape[2:]:
            centre = torch.randint(size, (len(x), 1, 1, 1), generator=generator, device=x.device)
            place = torch.arange(size, device=x.device)
            inside.append((place >= centre - self.cutout // 2) & (place < centre - self.cutout // 2 + self.cutout))
        rows, columns = inside
        return x.masked_fill(rows.transpose(2, 3) & columns, 0)
