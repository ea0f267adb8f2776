"""Train one small model over many seeds as a single batched model (`torch.func`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .device import find_device
from .history import SeedHistory, norm_is_due
from .objective import NonFiniteLoss, Objective, choose, met, metric_functions, whole
from .optim import SCHEDULES, constant, make_optimizer
from .stacked import Stack

MEASURED = ("loss", "nfe_forward", "grad_norm", "lr", "seconds")
TRACE_FROM = 400  # steps: fewer do not pay back the third of a second that a trace takes


class SeedFit(NamedTuple):
    """history: (seeds, epochs) arrays; models: one trained module a seed, in the order of the seeds."""

    history: SeedHistory
    models: list[nn.Module]


def fit_seeds(
    make_model: Callable[[int], nn.Module],
    data: tuple[Tensor, Tensor] | Callable[[int], tuple[Tensor, Tensor]],
    loss: str | Callable[[Tensor, Tensor], Tensor] = "mse",
    *,
    seeds: Sequence[int],
    epochs: int,
    optimizer="adam",
    lr: float = 1e-3,
    options: dict | None = None,
    schedule=None,
    batch_size: int | None = None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    clip: float | None = None,
    metrics=None,
    validation: tuple[Tensor, Tensor] | None = None,
    eval_every: int = 1,
    target: float | None = None,
    monitor: str = "loss",
    on_nonfinite: str = "raise",
    device: str | torch.device = "cpu",
    trace: bool | str = "auto",
) -> SeedFit:
    """Train ``make_model(seed)`` for every seed, all in one batched model; the same per seed as ``fit`` alone.

    Parameters
    ----------
    make_model
        Called as make_model(seed) with torch's random state set to the seed; all models alike but for values. Models
        with a method ``together`` step their seeds by themselves, as `neural_ode.ODENet` with its adaptive solver does.
    data
        (x, y), shared by the seeds, or a function seed -> (x, y) where each seed has its own (equal shapes).
    loss, penalty
        "mse", "smooth_l1", "cross_entropy", "bce" (logits), or a function (prediction, y) -> scalar; a function of the
        model, added to it (weight smoothness, decay, ...).
    optimizer, lr, options
        "sgd", "adam", "adamw", "rmsprop" or a function params -> Optimizer that acts on each number alone; its rate;
        further arguments, such as {"momentum": 0.9}.
    schedule
        "constant", "cosine", "triangle" or a function share of training done -> factor on lr.
    batch_size
        None for full batch; else each seed draws its own order, as ``fit(seed=...)`` does.
    clip
        Largest norm of a seed's gradient.
    metrics, validation, eval_every
        As in ``fit``.
    target, monitor
        A seed stops at the first epoch whose ``monitor`` ("loss" or a metric's name) is at most the target, at least
        for an accuracy; its weights are those of that moment and its later history is NaN.
    on_nonfinite
        "raise" NonFiniteLoss, or "record": keep the other seeds going and mark the seed in history.diverged.
    device
        The CPU unless given: small models are fastest there.
    trace
        True: run the step as a trace of itself, twice as fast (``course_lib.train.traced``); "auto": in long runs.

    Returns
    -------
    SeedFit
        history, a ``SeedHistory``, and models, one trained module a seed.

    Raises
    ------
    ValueError
        For models that cannot be stacked (batch norm, unequal shapes) and arguments that make no sense.
    NonFiniteLoss
        With the seeds it happened to.
    """
    seeds = [int(s) for s in seeds]
    if not seeds:
        raise ValueError("seeds is empty: give at least one integer, e.g. seeds=range(5)")
    whole(epochs=epochs, eval_every=eval_every)
    if on_nonfinite not in {"raise", "record"}:
        raise ValueError(f"on_nonfinite={on_nonfinite!r} is unknown: give 'raise' or 'record'")
    if optimizer in ("lbfgs", "lm"):
        raise ValueError(f"optimizer={optimizer!r} does not act on each number alone, so it cannot step seeds together")
    device = find_device(device)
    factor = constant if schedule is None else choose(schedule, SCHEDULES, "schedule")
    x, y, own = _data(data, seeds, device)
    n, size = x.shape[own], x.shape[own] if batch_size is None else batch_size
    if not 0 < size <= n:
        raise ValueError(f"batch_size={size} must lie between 1 and the {n} samples; None is full batch")
    per_epoch = -(-n // size)
    objectives = [Objective(_make(make_model, s).to(device), loss, penalty) for s in seeds]
    trace = epochs * per_epoch >= TRACE_FROM if trace == "auto" else trace
    stack = Stack(objectives, batched=bool(own) or size < n, traced=trace)
    generators = [torch.Generator().manual_seed(s) for s in seeds]
    opt = make_optimizer(optimizer, stack.params.values(), lr=lr, options=options)
    initial_lr = [group["lr"] for group in opt.param_groups]

    held = validation is not None
    xe, ye = (t.to(device) for t in validation) if held else (x, y)
    tests = {f"val_{k}" if held else k: f for k, f in metric_functions(metrics).items()}
    if held:
        tests["val_loss"] = objectives[0].loss
    if target is not None and monitor != "loss" and monitor not in tests:
        raise ValueError(f"monitor={monitor!r} is not measured: have loss, {', '.join(tests) or 'no metrics'}")

    rows: dict[str, list] = {k: [] for k in (*MEASURED, *tests)}
    unmeasured, clock = torch.full((len(seeds),), torch.nan), 0.0
    reached, diverged = unmeasured.clone(), torch.zeros(len(seeds), dtype=torch.bool)
    kept: dict[int, dict[str, Tensor]] = {}
    for epoch in range(epochs):
        start = time.perf_counter()
        order = torch.stack([torch.randperm(n, generator=g) for g in generators]).to(device) if size < n else None
        total, evaluations = torch.zeros(len(seeds), device=device), torch.zeros(len(seeds))
        for i in range(per_epoch):
            for group, first in zip(opt.param_groups, initial_lr, strict=True):
                group["lr"] = first * factor((epoch + i / per_epoch) / epochs)
            total += stack.step(*_batch(x, y, own, None if order is None else order[:, i * size : (i + 1) * size]))
            evaluations += stack.nfe
            due = i == per_epoch - 1 and norm_is_due(epoch, epochs)
            norms = stack.norms() if due or clip is not None else unmeasured
            if clip is not None:
                stack.clip(norms, clip)
            opt.step()
        clock += time.perf_counter() - start
        mean = (total / per_epoch).cpu()
        bad = ~torch.isfinite(mean) & torch.isnan(reached)
        if bad.any() and on_nonfinite == "raise":
            which = ", ".join(str(s) for s, b in zip(seeds, bad.tolist(), strict=True) if b)
            raise NonFiniteLoss(f"the loss of seed {which}", step=(epoch + 1) * per_epoch, lr=opt.param_groups[0]["lr"])
        diverged |= bad
        now = {"loss": mean, "grad_norm": norms.cpu(), "lr": opt.param_groups[0]["lr"], "seconds": clock}
        now["nfe_forward"] = evaluations / per_epoch
        measured = (epoch + 1) % eval_every == 0 or epoch + 1 == epochs
        for name, test in tests.items():
            batched = not held and bool(own)
            now[name] = stack.test(test, xe, ye, batched=batched).cpu() if measured else unmeasured
        for name, values in now.items():
            if torch.is_tensor(values):
                values = torch.where(torch.isnan(reached), values.double(), torch.nan)
            rows[name].append(values)
        for i, value in enumerate(now[monitor].tolist()) if target is not None else ():
            if i not in kept and met(value, target, monitor):
                reached[i], kept[i] = epoch + 1, stack.weights(i)
        if len(kept) == len(seeds):
            break

    table = {k: torch.stack(v, 1).numpy() if v and torch.is_tensor(v[0]) else np.array(v) for k, v in rows.items()}
    history = SeedHistory(
        seeds, metrics={k: table[k] for k in tests}, reached=reached.numpy(), diverged=diverged.numpy(),
        **{k: table[k] for k in MEASURED},
    )  # fmt: skip
    return SeedFit(history, stack.unstack(kept))


def _make(make_model: Callable[[int], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_model(seed)


def _data(data, seeds: list[int], device) -> tuple[Tensor, Tensor, int]:
    """x, y on the device, and 1 if they carry a leading seed axis, else 0."""
    if callable(data):
        xs, ys = zip(*(data(s) for s in seeds), strict=True)
        return torch.stack(xs).to(device), torch.stack(ys).to(device), 1
    x, y = data
    if len(x) != len(y):
        raise ValueError(f"data: x has {len(x)} samples and y has {len(y)}; give one target a sample")
    return x.to(device), y.to(device), 0


def _batch(x: Tensor, y: Tensor, own: int, index: Tensor | None) -> tuple[Tensor, Tensor]:
    if index is None:
        return x, y
    if own:
        rows = torch.arange(len(index), device=index.device)[:, None]
        return x[rows, index], y[rows, index]
    return x[index], y[index]
