"""Example 2 of Reshniak and Webster 2019 (arXiv 1905.10479): two spirals told apart by residual or implicit layers.

513 training and 513 validation points; 6 nodes, tanh, antisymmetric weights, 25 layers with h = 0.5; Adam 0.001, batch
10, 300 epochs, no penalty: settings of the authors' script of September 2019. theta 0 is the residual net, 0.5 the
trapezoidal one. Robustness is measured by moving the validation points at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import swiss_roll
from ..implicit import ImplicitNet
from ..records import Run
from .base import Recipe, Setup, setting
from .implicit_runs import Points, train


@dataclass(frozen=True)
class Config:
    """Defaults: the published run."""

    theta: float = setting(0.5, "0: residual net, 0.5: trapezoidal, 1: backward Euler")
    depth: int = setting(25, "layers")
    time: float = setting(12.5, "that the net spans: depth x h")
    width: int = setting(6, "nodes")
    epochs: int = setting(300, "passes over the points")
    batch_size: int = setting(10, "points a step")
    lr: float = setting(1e-3, "rate of Adam")
    noise: float = setting(0.05, "standard deviation of the moves that test robustness; the spirals are 0.2 apart")


def load(config: Config, setup: Setup) -> Points:
    return Points.of([swiss_roll()], "two spirals (Swiss roll), 513 + 513")


def cross_entropy(prediction: Tensor, y: Tensor) -> Tensor:
    """Logits and classes (samples, seeds, 1) -> (seeds,)."""
    return F.binary_cross_entropy_with_logits(prediction, y, reduction="none").mean((0, 2))


@torch.no_grad()
def accuracy(net: ImplicitNet, x: Tensor, y: Tensor) -> list[float]:
    """Share of right answers of every seed's net; x (samples, seeds, 2)."""
    return ((net(x) > 0) == (y > 0.5)).float().mean((0, 2)).tolist()


def run(
    config: Config, data: Points, seeds: list[int], setup: Setup, checkpoint: Callable[[int], Path | None]
) -> Iterator[Run]:
    if not seeds:
        return
    data = Points.of([swiss_roll()] * len(seeds), data.name)
    net = ImplicitNet(
        2,
        config.width,
        config.depth,
        1,
        seeds=seeds,
        h=config.time / config.depth,
        theta=config.theta,
        activation="tanh",
    )
    histories, diverged = train(
        net, data, cross_entropy, epochs=config.epochs, lr=config.lr, optimizer="adam", batch_size=config.batch_size
    )
    moves = torch.stack([torch.randn(len(data.x_val), 2, generator=torch.Generator().manual_seed(s)) for s in seeds], 1)
    straight = accuracy(net, data.x_val, data.y_val)
    moved = accuracy(net, data.x_val + config.noise * moves, data.y_val)
    for i, (seed, history) in enumerate(zip(seeds, histories, strict=True)):
        yield Run(
            seed,
            history,
            {
                "val_accuracy": straight[i],
                "val_accuracy_moved": moved[i],
                "train_loss": history.loss[-1],
                "val_loss": history.metrics["val_loss"][-1],
                "diverged": int(diverged[i]),
                "parameters": net.weights_per_run(),
            },
        )


RECIPE = Recipe(
    name="implicit-spirals",
    summary="two spirals by residual or implicit layers (Reshniak and Webster 2019, example 2)",
    config=Config, small={"epochs": 20, "depth": 8, "time": 4.0, "batch_size": 27, "lr": 0.02},  # h = 0.5, as published
    load=load, run=run,
    label=lambda config: f"theta{config.theta:g}-depth{config.depth}",
)  # fmt: skip
