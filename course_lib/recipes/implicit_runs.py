"""What the two experiments of Reshniak and Webster 2019 share: seeds that train together and are recorded apart."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data import Split
from ..implicit import ImplicitNet, train_runs
from ..train import History


@dataclass(frozen=True)
class Points:
    """One data set a seed: x (samples, seeds, n), y (samples, seeds, 1), and the same for validation."""

    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor
    name: str

    @classmethod
    def of(cls, splits: list[Split], name: str) -> Points:
        return cls(*(torch.stack(parts, 1) for parts in zip(*splits, strict=True)), name)

    @property
    def checksum(self) -> str:
        """SHA-256 of the numbers."""
        parts = (self.x, self.y, self.x_val, self.y_val)
        return hashlib.sha256(b"".join(t.numpy().tobytes() for t in parts)).hexdigest()


def train(net: ImplicitNet, data: Points, loss, *, batch_size: int, **options) -> tuple[list[History], Tensor]:
    """Train all seeds; one History a seed, its losses measured after the epochs, and which seeds diverged, (seeds,)."""
    result = train_runs(
        net, (data.x, data.y), loss, validation=(data.x_val, data.y_val), batch_size=batch_size, **options
    )
    epochs = len(result["epoch"])
    none, unknown = [0.0] * epochs, [math.nan] * epochs
    histories = [
        History(
            loss=training.tolist(), metrics={"val_loss": validation.tolist()}, nfe_forward=none, nfe_backward=none,
            grad_norm=unknown, lr=[options["lr"]] * epochs, seconds=unknown, peak_memory=unknown,
            steps=-(-len(data.x) // batch_size) * epochs,
        )
        for training, validation in zip(result["train"], result["validation"], strict=True)
    ]  # fmt: skip
    return histories, result["diverged"]
