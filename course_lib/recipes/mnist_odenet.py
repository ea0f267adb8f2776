"""MNIST with the networks of Chen et al. 2018 (arXiv 1806.07366), table 1, and the two rows that the table leaves out.

Settings of the authors' example script: SGD 0.1 with momentum 0.9, batch 128, 160 epochs, a tenth at epochs 60, 100 and
140, crops of 28 from 36, no weight decay. Reported test errors: MLP 1.60 %, ResNet 0.41 %, RK-Net 0.47 %, ODE-Net 0.42
%. The script keeps the best test accuracy of all epochs; here the last epoch counts, and the best is given beside it.

    python -m course_lib run mnist-odenet --model odenet --data FOLDER --seeds 0 1 2 --out book/recorded
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ..data import ImageData, mnist
from ..records import Run
from ..train import Augmentation, History, drops, fit, warmup
from .base import Recipe, Setup, enlarged_digits, parameters, seeded, setting
from .mnist_models import KINDS, deskew, model


@dataclass(frozen=True)
class Config:
    """Defaults: the published run."""

    model: str = setting("odenet", "odenet, rknet, resnet6, resnet1, none, mlp or mlp-deskewed")
    solver: str = setting("dopri5", "method of the ODE block: dopri5, or one of fixed steps such as rk4")
    tolerance: float = setting(1e-3, "of the adaptive solver, relative and absolute")
    steps: int = setting(0, "equal steps of a method of fixed steps; 0 for dopri5")
    epochs: int = setting(160, "passes over the training images")
    batch_size: int = setting(128, "images a step")
    lr: float = setting(0.1, "learning rate, or its peak")
    momentum: float = setting(0.9, "of SGD")
    schedule: str = setting("drops", "drops: a tenth at 3/8, 5/8 and 7/8; triangle: up over a fifth, then down to 0")
    shift: int = setting(4, "pixels of the random crop; 0 for the MLPs whatever is given")
    dataset: str = setting("mnist", "mnist, or digits: the embedded ones, enlarged")


PRESETS = {
    "fast": {"epochs": 40, "batch_size": 256, "lr": 0.2, "schedule": "triangle", "shift": 2},
    "brief": {"epochs": 5, "schedule": "triangle", "shift": 2},  # for a CPU: half an hour for an ODE-Net
}
SMALL = {"dataset": "digits", "epochs": 2, "batch_size": 16, "schedule": "triangle", "shift": 1}
SCHEDULES = {"drops": drops(0.1, at=(3 / 8, 5 / 8, 7 / 8)), "triangle": warmup(0.2)}


def load(config: Config, setup: Setup) -> ImageData:
    if config.dataset == "digits":
        return enlarged_digits(16, 1, n=768, n_test=256)
    if config.dataset != "mnist":
        raise ValueError(f"dataset={config.dataset!r} is unknown: give mnist or digits")
    return mnist(setup.folder, verify=setup.verify, name=setup.name_of("MNIST"))


def inputs(data: ImageData, config: Config) -> tuple[Tensor, Tensor]:
    """Training and test images in [0, 1], deskewed for mlp-deskewed."""
    x, x_test = data.x.float() / 255, data.x_test.float() / 255
    return (deskew(x), deskew(x_test)) if config.model == "mlp-deskewed" else (x, x_test)


def final(history: History, parameter_count: int) -> dict[str, float]:
    accuracy = history.metrics["val_accuracy"]
    return {
        "test_error": 1 - accuracy[-1], "best_test_error": 1 - max(accuracy), "epochs": history.epochs,
        "seconds": history.seconds[-1], "seconds_a_step": history.seconds[-1] / history.steps,
        "nfe_forward": history.nfe_forward[-1], "nfe_backward": history.nfe_backward[-1], "parameters": parameter_count,
    }  # fmt: skip


def run(
    config: Config, data: ImageData, seeds: list[int], setup: Setup, checkpoint: Callable[[int], Path | None]
) -> Iterator[Run]:
    if config.schedule not in SCHEDULES:
        raise ValueError(f"schedule={config.schedule!r} is unknown: give {' or '.join(SCHEDULES)}")
    x, x_test = inputs(data, config)
    if config.model in {"odenet", "rknet"}:  # step-size control needs float32, and its branches cannot be captured
        setup = replace(setup, compile=False, precision="float32")
    shift = 0 if config.model.startswith("mlp") else config.shift
    for seed in seeds:
        block = {"method": config.solver, "tolerance": config.tolerance, "steps": max(config.steps, 1)}
        net = seeded(lambda: model(config.model, pixels=x[0].numel(), **block), seed)  # noqa: B023
        history = fit(
            net, (x, data.y), "cross_entropy", seed=seed, epochs=config.epochs, optimizer="sgd", lr=config.lr,
            options={"momentum": config.momentum}, schedule=SCHEDULES[config.schedule], batch_size=config.batch_size,
            drop_last=True, augment=Augmentation(shift) if shift else None, metrics="accuracy",
            validation=(x_test, data.y_test), checkpoint=checkpoint(seed), **setup.fit_options(),
        )  # fmt: skip
        yield Run(seed, history, final(history, parameters(net)) if history.epochs else {})


RECIPE = Recipe(
    name="mnist-odenet",
    summary="MNIST, the table of Chen et al. 2018: ODE-Net, RK-Net, ResNets, no block, MLPs",
    config=Config, small=SMALL, presets=PRESETS, load=load, run=run, label=lambda config: config.model,
    wanted=(
        *({"model": kind, "preset": "fast"} for kind in KINDS),
        *({"model": kind, "preset": "brief"} for kind in KINDS if not kind.startswith("mlp")),
    ),
)  # fmt: skip
