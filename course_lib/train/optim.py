"""Optimizers and learning-rate schedules, by name or as torch objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from .lm import LevenbergMarquardt
from .objective import choose

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "lbfgs": partial(torch.optim.LBFGS, line_search_fn="strong_wolfe"),
    "lm": LevenbergMarquardt,
}
_FUSED = {"sgd", "adam", "adamw"}

Schedule = Callable[[float], float]  # share of training done, in [0, 1) -> factor on the learning rate


def make_optimizer(which, params: Iterable[Tensor], *, lr: float, options: dict | None = None):
    """An optimizer over `params`.

    which: a name ("sgd", "adam", "adamw", "rmsprop", "lbfgs", "lm"), a function params -> Optimizer, or an Optimizer,
    which is then used as it is (its own learning rate stands). options: further arguments of the torch class, such as
    {"momentum": 0.9}. Raises ValueError for an unknown name.
    """
    if isinstance(which, torch.optim.Optimizer):
        return which
    params = list(params)
    if callable(which):
        return which(params)
    if which not in OPTIMIZERS:
        raise ValueError(f"optimizer={which!r} is unknown: give a torch optimizer or one of {', '.join(OPTIMIZERS)}")
    options = dict(options or {})
    if which in _FUSED and all(p.is_floating_point() for p in params):
        options.setdefault("fused", True)  # one kernel for all tensors: half a small net's step
    return OPTIMIZERS[which](params, lr=lr, **options)


def constant(done: float) -> float:
    """The learning rate as given, throughout."""
    return 1.0


def cosine(done: float) -> float:
    """Half a cosine, from 1 to 0 (Loshchilov and Hutter 2017, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * done))


def drops(factor: float, *, at: Iterable[float]) -> Schedule:
    """Multiply by `factor` at each share of training in `at`: drops(0.1, at=(1/3, 2/3)) for tenths at the thirds."""
    at = sorted(at)
    return lambda done: factor ** sum(done >= share for share in at)


def warmup(peak: float, *, then: Schedule | None = None) -> Schedule:
    """Rise in a line from 0 to 1 over the share `peak`; then fall in a line to 0, or follow `then` over the rest."""
    if not 0 < peak < 1:
        raise ValueError(f"peak={peak} must lie between 0 and 1: it is the share of training spent rising")

    def factor(done: float) -> float:
        if done < peak:
            return done / peak
        rest = (done - peak) / (1 - peak)
        return 1 - rest if then is None else then(rest)

    return factor


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "triangle": warmup(0.2)}


def make_schedule(which, opt: torch.optim.Optimizer) -> Schedule | LRScheduler:
    """A function share of training -> factor (None and names too), or the torch scheduler given, if it drives `opt`."""
    if isinstance(which, LRScheduler):
        if which.optimizer is not opt:
            raise ValueError("schedule drives another optimizer than the one given: pass both, made for each other")
        return which
    return constant if which is None else choose(which, SCHEDULES, "schedule")
