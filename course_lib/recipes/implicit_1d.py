"""Example 1 of Reshniak and Webster 2019 (arXiv 1905.10479): a curve through 100 points, residual or implicit layers.

Target sin(2 pi x) exp(-x²/2) on [-1, 1]; 5 nodes, ReLU, antisymmetric weights; plain SGD, batch 4, 1000 epochs, rate
0.01, and a penalty on how fast the weights change with depth. Settings of the authors' script of September 2019; the
loss levels of the paper's figures are not known. theta 0 is the residual net, 0.5 the trapezoidal one. Keep depth x h
the same to compare depths: both nets then approximate one differential equation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..data import damped_wave_points
from ..implicit import ImplicitNet
from ..records import Run
from .base import Recipe, Setup, setting
from .implicit_runs import Points, train


@dataclass(frozen=True)
class Config:
    """Defaults: the published run."""

    theta: float = setting(0.5, "0: residual net, 0.5: trapezoidal, 1: backward Euler")
    depth: int = setting(10, "layers")
    time: float = setting(1.0, "that the net spans: depth x h")
    width: int = setting(5, "nodes")
    epochs: int = setting(1000, "passes over the points")
    batch_size: int = setting(4, "points a step")
    lr: float = setting(0.01, "rate of plain SGD")
    smooth: float = setting(0.001, "weight of the penalty, sum |K' - K|² / h; the script's 0.1 / depth at h = 0.1")
    points: int = setting(100, "training points, drawn anew for each seed")


def load(config: Config, setup: Setup) -> Points:
    """The points of seed 0, whose checksum stands for all: every other seed's are drawn in the same way."""
    return Points.of([damped_wave_points(config.points, seed=0)], f"damped wave, {config.points} points a seed")


def mean_square(prediction: Tensor, y: Tensor) -> Tensor:
    """(samples, seeds, 1) each -> (seeds,)."""
    return (prediction - y).square().mean((0, 2))


def run(
    config: Config, data: Points, seeds: list[int], setup: Setup, checkpoint: Callable[[int], Path | None]
) -> Iterator[Run]:
    if not seeds:
        return
    splits = [damped_wave_points(config.points, seed=seed) for seed in seeds]
    net = ImplicitNet(
        1,
        config.width,
        config.depth,
        1,
        seeds=seeds,
        h=config.time / config.depth,
        theta=config.theta,
        activation="relu",
    )
    histories, diverged = train(
        net,
        Points.of(splits, data.name),
        mean_square,
        epochs=config.epochs,
        lr=config.lr,
        batch_size=config.batch_size,
        smooth=config.smooth,
    )
    for seed, history, lost in zip(seeds, histories, diverged.tolist(), strict=True):
        yield Run(
            seed,
            history,
            {
                "train_loss": history.loss[-1],
                "val_loss": history.metrics["val_loss"][-1],
                "diverged": int(lost),
                "parameters": net.weights_per_run(),
            },
        )


RECIPE = Recipe(
    name="implicit-1d",
    summary="a 1-D curve by residual or implicit layers (Reshniak and Webster 2019, example 1)",
    config=Config, small={"epochs": 120, "depth": 5, "batch_size": 20, "lr": 0.1}, load=load, run=run,
    label=lambda config: f"theta{config.theta:g}-depth{config.depth}",
)  # fmt: skip
