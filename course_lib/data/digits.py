"""The 8x8 digits that come with the library: no download, real handwriting, a class of 180 images each.

1,797 images of the test part of *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak, 1998), UCI
Machine Learning Repository, doi 10.24432/C50P49, licensed CC BY 4.0; the selection is that of scikit-learn's
`load_digits`. The bitmaps were counted in blocks of 4x4: grey values 0 to 16. `digits.npz` holds them unchanged, as
images and labels.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from torch import Tensor

from .toy import Split


def digits(*, seed: int = 0, validation: float = 0.2, flat: bool = False, dtype: torch.dtype = torch.float32) -> Split:
    """Images scaled to [0, 1], (n, 1, 8, 8) or flat (n, 64), and class numbers (n,), int64.

    `seed` draws which share `validation` of the 1,797 is held out (360 of them by default). The writers of the two
    parts overlap, so the held-out error is that for known hands.
    """
    if not 0 < validation < 1:
        raise ValueError(f"validation={validation} must lie between 0 and 1: it is the share held out")
    x, y = raw()
    x = x.to(dtype) / 16
    x = x.flatten(1) if flat else x[:, None]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held = order[: round(validation * len(x))]
    kept = order[len(held) :]
    return Split(x[kept], y[kept], x[held], y[held])


def raw() -> tuple[Tensor, Tensor]:
    """The 1,797 images as stored, uint8 (n, 8, 8) with values 0 to 16, and labels int64 (n,)."""
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        return torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"].astype(np.int64))
