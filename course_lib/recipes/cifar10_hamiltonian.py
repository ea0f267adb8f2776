"""CIFAR-10 with the published Hamiltonian network: 3,157,882 trained parameters, forward Euler or a stable method.

S. Rome, *Using ordinary differential equations to design state of the art residual-style layers* (2018), with the
settings of its own notebook: 512,000 iterations of batches of 32 are 327 epochs; the rate falls to a tenth at epochs
109 and 218. Reported: 90.37 % after the last epoch, 25.0 hours.

    python -m course_lib run cifar10-hamiltonian --data FOLDER --out book/recorded --preset fast --method verlet
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data import ImageData, cifar10
from ..hamiltonian import hamiltonian_network
from ..hamiltonian.network import POOLED, WIDTHS
from ..records import Run
from ..train import Augmentation, History, drops, fit, warmup
from .base import Recipe, Setup, enlarged_digits, parameters, seeded, setting
from .throughput import flops_per_sample, matrix_teraflops

PUBLISHED_ACCURACY = 0.9037


@dataclass(frozen=True)
class Config:
    """Defaults: the published run."""

    method: str = setting("euler", "euler (as published), symplectic_euler, verlet, leapfrog or midpoint")
    h: float = setting(0.15, "step size")
    steps: int = setting(4, "steps of every unit, with shared weights")
    widths: tuple[int, ...] = setting(WIDTHS, "channels of the units")
    pooled: tuple[bool, ...] = setting(POOLED, "whether a 2x2 average follows each unit")
    stem: int = setting(7, "size of the first kernel")
    epochs: int = setting(327, "512,000 iterations of 32, in whole epochs")
    batch_size: int = setting(32, "images a step")
    lr: float = setting(0.1, "learning rate, or its peak")
    momentum: float = setting(0.9, "of SGD")
    nesterov: bool = setting(False, "Nesterov's form of momentum")
    schedule: str = setting("thirds", "thirds: a tenth at each third; triangle: up over a fifth, then down to 0")
    weight_decay: float = setting(2e-4, "of the kernels alone: Keras' l2(1e-4) has the gradient 2e-4 w")
    clip: float = setting(0.0, "largest gradient norm; 0: none, as published")
    smoothing: float = setting(0.0, "label smoothing")
    shift: int = setting(3, "pixels; published: a tenth of the width")
    fill: str = setting("nearest", "what a shift uncovers: nearest or zeros")
    cutout: int = setting(0, "side of the square cut out; 0: none, as published")
    dataset: str = setting("cifar10", "cifar10, or digits: the embedded ones, enlarged")
    target: float = setting(0.0, "stop at this test accuracy; 0: run to the end")


# Forward and backward are 6 GFLOP an image at four steps a unit, 9 PFLOP for 30 epochs. In batches of 512 the wide
# units, nine tenths of it, are matrix products that fill a GPU; the narrow ones wait for its memory.
FAST = {
    "batch_size": 512,
    "lr": 0.2, "nesterov": True, "schedule": "triangle",  # 97 steps an epoch are few: a high rate, from 0 and back to 0
    "clip": 1.0,  # the units have no batch norm, so nothing else bounds a step at that rate
    "weight_decay": 1e-3,  # takes off what the sum of the rates says, which is small here; the published run overfits
    "shift": 4, "fill": "zeros", "smoothing": 0.1,  # crops of He et al. 2016, labels of Szegedy et al. 2016
}  # fmt: skip
PRESETS = {
    "fast": {**FAST, "epochs": 30},  # aims at the published accuracy in a minute or two on one GPU
    "best": {**FAST, "epochs": 120, "cutout": 12},  # four times as long, so cutout too; aims at 93 %
}
SMALL = {
    "widths": (16, 32, 64),
    "pooled": (True, True, True),
    "dataset": "digits",
    "epochs": 8,
    "lr": 0.2,
    "clip": 1.0,
    "schedule": "triangle",
    "shift": 1,
}


def load(config: Config, setup: Setup) -> ImageData:
    if config.dataset == "digits":
        return enlarged_digits(16, 3, n=1024, n_test=256)
    if config.dataset != "cifar10":
        raise ValueError(f"dataset={config.dataset!r} is unknown: give cifar10 or digits")
    return cifar10(setup.folder, verify=setup.verify, name=setup.name_of("CIFAR-10"))


def normalise(data: ImageData) -> tuple[Tensor, Tensor]:
    """Training and test images less the training images' mean image, over 128, float32."""
    mean = data.x.float().mean(0)
    return (data.x.float() - mean) / 128, (data.x_test.float() - mean) / 128


def network(config: Config, seed: int) -> nn.Module:
    """The network of a configuration: images (batch, 3, 32, 32) to logits (batch, 10)."""
    return hamiltonian_network(
        config.widths, config.pooled, stem=config.stem, steps=config.steps, h=config.h, method=config.method,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def optimizer(model: nn.Module, config: Config) -> torch.optim.SGD:
    """SGD with weight decay on kernels alone (tensors of two dimensions or more)."""
    kernels = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True)


def final(history: History, model: nn.Module, config: Config, flops: float, ceiling: float) -> dict[str, float]:
    """The figures of a run; flops: of an epoch; ceiling: what the device's matrix products reach, in 1e12 a second."""
    accuracy, loss = history.metrics["val_accuracy"], history.metrics["val_loss"]
    result = {
        "test_accuracy": accuracy[-1], "best_test_accuracy": max(accuracy), "test_loss": loss[-1],
        "epochs": history.epochs, "seconds": history.seconds[-1], "compile_seconds": history.compile_seconds,
        "parameters": parameters(model),
        "teraflops": flops * history.epochs / history.seconds[-1] / 1e12, "matrix_teraflops": ceiling,
    }  # fmt: skip
    published = zip(accuracy, history.seconds, strict=True) if config.dataset == "cifar10" else ()
    there = [s for a, s in published if a >= PUBLISHED_ACCURACY]
    return {**result, "seconds_to_90.37": there[0]} if there else result


def run(
    config: Config, data: ImageData, seeds: list[int], setup: Setup, checkpoint: Callable[[int], Path | None]
) -> Iterator[Run]:
    x, x_test = normalise(data)
    samples = len(x) // config.batch_size * config.batch_size  # a CUDA graph wants batches of one size
    schedules = {"thirds": drops(0.1, at=(1 / 3, 2 / 3)), "triangle": warmup(0.2)}
    if config.schedule not in schedules:
        raise ValueError(f"schedule={config.schedule!r} is unknown: give {' or '.join(schedules)}")
    ceiling = matrix_teraflops(setup) if seeds else math.nan
    for seed in seeds:
        model = seeded(lambda seed=seed: network(config, seed), seed)
        flops = samples * flops_per_sample(model, x[:2])
        history = fit(
            model, (x, data.y), nn.CrossEntropyLoss(label_smoothing=config.smoothing), seed=seed, epochs=config.epochs,
            optimizer=optimizer(model, config), schedule=schedules[config.schedule], batch_size=config.batch_size,
            drop_last=True, augment=Augmentation(config.shift, config.fill, flip=True, cutout=config.cutout),
            clip=config.clip or None, metrics="accuracy", validation=(x_test, data.y_test),
            target=config.target or None, monitor="val_accuracy" if config.target else "loss",
            checkpoint=checkpoint(seed), **setup.fit_options(),
        )  # fmt: skip
        yield Run(seed, history, final(history, model, config, flops, ceiling) if history.epochs else {})


RECIPE = Recipe(
    name="cifar10-hamiltonian",
    summary="CIFAR-10, Hamiltonian network of 3,157,882 trained parameters (reported: 90.37 %)",
    config=Config, small=SMALL, presets=PRESETS, load=load, run=run,
    label=lambda config: config.method.replace("_", "-"),
    wanted=tuple({"method": m, "preset": p} for m, p in (("euler", "fast"), ("verlet", "fast"), ("verlet", "best"))),
)  # fmt: skip
