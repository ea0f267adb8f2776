"""The annulus of Dupont, Doucet and Teh 2019 (arXiv 1904.01681): a disc in a ring told apart by three kinds of net.

500 points in the disc, 1500 in the ring, drawn anew for each seed; smooth L1 loss on the targets -1 and 1; Adam 0.001,
batch 64, 30 epochs; two hidden layers of 32, ReLU, time-dependent; dopri5 with tolerance 0.001, differentiated through
its steps; a linear head: settings of the authors' code (config.json, ten repeats). The residual net has five blocks.
Validation is on one fresh draw of the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ..data import Split, annulus
from ..neural_ode import Augment, MLPField, NeuralODE, ODENet
from ..records import Run
from ..residual import DeepNet, ResidualBlock
from ..train import fit_seeds
from .base import Recipe, Setup, parameters, setting
from .implicit_runs import Points

KINDS = ("resnet", "node", "anode")
VALIDATION_SEED = 1000


@dataclass(frozen=True)
class Config:
    """Defaults: the published run."""

    model: str = setting("anode", "resnet, node or anode")
    p: int = setting(5, "dimensions added to the anode")
    hidden: int = setting(32, "units of a hidden layer")
    blocks: int = setting(5, "of the resnet")
    tolerance: float = setting(1e-3, "relative and absolute, of dopri5")
    epochs: int = setting(30, "passes over the points")
    batch_size: int = setting(64, "points a step")
    lr: float = setting(1e-3, "rate of Adam")
    inner: int = setting(500, "points in the disc")
    outer: int = setting(1500, "points in the ring")
    target: float = setting(0.01, "validation loss whose first epoch is noted")


def load(config: Config, setup: Setup) -> Points:
    """Seed 0's points and the validation set; those of the other seeds are drawn by the run."""
    split = Split(*_draw(config, 0), *_draw(config, VALIDATION_SEED))
    return Points.of([split], f"annulus A_2, {config.inner} + {config.outer}, drawn by seed")


def _draw(config: Config, seed: int) -> tuple[Tensor, Tensor]:
    return annulus(config.inner, config.outer, seed=seed)


def model(config: Config) -> nn.Module:
    """The net with weights from torch's random state; ValueError for an unknown kind."""
    if config.model not in KINDS:
        raise ValueError(f"model={config.model!r} is unknown: give {', '.join(KINDS)}")
    h = config.hidden
    if config.model == "resnet":
        blocks = [nn.Sequential(nn.Linear(2, h), nn.ReLU(), nn.Linear(h, 2)) for _ in range(config.blocks)]
        return DeepNet([ResidualBlock(F) for F in blocks], head=nn.Linear(2, 1))
    p = config.p if config.model == "anode" else 0
    node = NeuralODE(
        MLPField(2 + p, h, activation="relu", time=True), rtol=config.tolerance, atol=config.tolerance
    )
    return ODENet(Augment(node, p, keep=True), nn.Linear(2 + p, 1))


def run(
    config: Config, data: Points, seeds: list[int], setup: Setup, checkpoint: Callable[[int], Path | None]
) -> Iterator[Run]:
    if not seeds:
        return
    validation = _draw(config, VALIDATION_SEED)
    fit = fit_seeds(
        lambda seed: model(config), lambda seed: _draw(config, seed), "smooth_l1", seeds=seeds, epochs=config.epochs,
        lr=config.lr, batch_size=config.batch_size, validation=validation,
        metrics={"accuracy": lambda out, y: (out.sign() == y).float().mean()},
    )  # fmt: skip
    for i, (seed, net) in enumerate(zip(seeds, fit.models, strict=True)):
        history = fit.history[i]
        below = np.flatnonzero(np.array(history.metrics["val_loss"]) <= config.target)
        yield Run(
            seed,
            history,
            {
                "val_loss": history.metrics["val_loss"][-1],
                "val_accuracy": history.metrics["val_accuracy"][-1],
                "train_loss": history.loss[-1],
                "nfe_first": history.nfe_forward[0],
                "nfe_second": history.nfe_forward[1],
                "nfe_last": history.nfe_forward[-1],
                "reached": int(len(below) > 0),
                "epochs_to_target": int(below[0]) + 1 if len(below) else config.epochs,
                "parameters": parameters(net),
            },
        )


RECIPE = Recipe(
    name="anode-toy",
    summary="a disc in a ring by residual net, neural ODE or augmented neural ODE (Dupont et al. 2019)",
    config=Config, small={"epochs": 10, "hidden": 16, "batch_size": 32, "lr": 0.01, "inner": 60, "outer": 180},
    load=load, run=run,
    label=lambda config: config.model + (f"-p{config.p}" if config.model == "anode" else ""),
)  # fmt: skip
