"""The digits with the five networks whose comparison MNIST's table leaves half open, small enough for a CPU.

A stem of two convolutions, 8x8 to 4x4 with 16 channels, and a head; what lies between differs:

    resnet6   six residual blocks   32,538 parameters    none     nothing                             4,506 parameters
    resnet1   one                    9,178               rknet    an ODE block, backpropagated
    odenet    as rknet, adjoint      9,530                        through its solver                  9,530

Blocks and fields are those of Chen et al. 2018 (arXiv 1806.07366) for MNIST, with a quarter of the channels. The
settings are ours; nothing was published for this data set. Each network has its own rate of Adam, chosen out of the
same few by nets that learn from four fifths of the training images and are measured on the rest. The test has no part.

    python -m course_lib run digits-odenet --model odenet --seeds 0 1 2 3 4 --device cpu --threads 1 --out book/recorded
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from torch import nn

from ..data import digits
from ..data.toy import Split
from ..integrators import SolveError
from ..neural_ode import NeuralODE
from ..records import Run
from ..train import History, NonFiniteLoss, fit
from .base import Recipe, Setup, parameters, seeded, setting
from .conv_blocks import ConvField, Residual

KINDS = ("odenet", "rknet", "resnet6", "resnet1", "none")


@dataclass(frozen=True)
class Config:
    """Defaults: the run that the book records."""

    model: str = setting("odenet", "odenet, rknet, resnet6, resnet1 or none")
    channels: int = setting(16, "of the state, a multiple of 8")
    tolerance: float = setting(1e-3, "of the ODE block's dopri5, relative and absolute")
    epochs: int = setting(20, "passes over the training images")
    batch_size: int = setting(128, "images a step")
    rates: tuple[float, ...] = setting((0.003, 0.01, 0.03, 0.1), "Adam's, to choose from; each falls to 0 on a cosine")
    tuning_seeds: tuple[int, ...] = setting((5, 6), "of the nets by which the rate is chosen")


@dataclass(frozen=True)
class Digits:
    """The embedded digits, one split for all seeds."""

    split: Split

    @property
    def name(self) -> str:
        return f"digits, {len(self.split.x)} + {len(self.split.x_val)} images of 8x8"

    @property
    def checksum(self) -> str:
        return hashlib.sha256(b"".join(t.numpy().tobytes() for t in self.split)).hexdigest()


def load(config: Config, setup: Setup) -> Digits:
    return Digits(digits(seed=0))


def model(kind: str, *, channels: int = 16, tolerance: float = 1e-3) -> nn.Sequential:
    """A network of the table: (batch, 1, 8, 8) in [0, 1] to logits (batch, 10). ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"model={kind!r} is unknown: give one of {', '.join(KINDS)}")
    middle: list[nn.Module] = [Residual(channels, 8) for _ in range({"resnet1": 1, "resnet6": 6}.get(kind, 0))]
    if kind in {"odenet", "rknet"}:
        gradient = "adjoint" if kind == "odenet" else "direct"
        middle = [NeuralODE(ConvField(channels, 8), rtol=tolerance, atol=tolerance, gradient=gradient)]
    stem = [nn.Conv2d(1, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.ReLU()]
    stem.append(nn.Conv2d(channels, channels, 4, stride=2, padding=1))
    head = [nn.GroupNorm(8, channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    return nn.Sequential(*stem, *middle, *head)


def fold(split: Split) -> Split:
    """The training images, the last fifth of them as validation; their order is a random one already."""
    n = round(0.8 * len(split.x))
    return Split(split.x[:n], split.y[:n], split.x[n:], split.y[n:])


def train(config: Config, split: Split, seed: int, lr: float, options: dict) -> tuple[nn.Module, History]:
    """A net of the configuration's kind, trained on the split and measured on its validation part."""
    net = seeded(lambda: model(config.model, channels=config.channels, tolerance=config.tolerance), seed)
    history = fit(
        net, split.train, "cross_entropy", seed=seed, epochs=config.epochs, lr=lr, schedule="cosine",
        batch_size=config.batch_size, metrics="accuracy", validation=split.validation, **options,
    )  # fmt: skip
    return net, history


def choose(config: Config, split: Split, options: dict) -> tuple[float, dict[float, float], History]:
    """The rate whose nets end with the least validation loss, the mean losses by rate, and the last net's history.

    A rate at which the loss or the solver breaks down has an infinite loss. Stops early where a net is interrupted.
    """
    losses, history = {}, History()
    for lr in config.rates:
        ends = []
        for seed in config.tuning_seeds:
            try:
                history = train(config, fold(split), seed, lr, options)[1]
            except (NonFiniteLoss, SolveError):
                ends.append(math.inf)
                continue
            if history.stopped == "interrupted":
                return lr, losses, history
            ends.append(history.metrics["val_loss"][-1])
        losses[lr] = mean(ends)
    return min(losses, key=losses.get), losses, history


def run(
    config: Config, data: Digits, seeds: list[int], setup: Setup, checkpoint: Callable[[int], Path | None]
) -> Iterator[Run]:
    if not seeds:
        return
    options = setup.fit_options() | {"compile": False, "precision": "float32"}  # step-size control needs both
    lr, losses, history = choose(config, data.split, options)
    if history.stopped == "interrupted":
        yield Run(seeds[0], history, {})
        return
    for seed in seeds:
        net, history = train(config, data.split, seed, lr, options | {"checkpoint": checkpoint(seed)})
        if not history.epochs:
            yield Run(seed, history, {})
            continue
        final = {
            "test_error": 1 - history.metrics["val_accuracy"][-1], "train_loss": history.loss[-1],
            "epochs": history.epochs, "seconds": history.seconds[-1],
            "seconds_a_step": history.seconds[-1] / history.steps, "nfe_forward": history.nfe_forward[-1],
            "nfe_backward": history.nfe_backward[-1], "parameters": parameters(net), "lr": lr,
            **{f"tuning_loss_{rate:g}": loss for rate, loss in losses.items() if math.isfinite(loss)},
        }  # fmt: skip
        yield Run(seed, history, final)


RECIPE = Recipe(
    name="digits-odenet",
    summary="the digits by an ODE-Net, an RK-Net, ResNets and no block, small enough for a CPU",
    config=Config, load=load, run=run, small={"epochs": 3, "channels": 8, "tolerance": 0.05, "batch_size": 36,
                                              "rates": (0.001, 0.03), "tuning_seeds": (5,)},
    label=lambda config: config.model,
    wanted=tuple({"model": kind} for kind in KINDS),
)  # fmt: skip
