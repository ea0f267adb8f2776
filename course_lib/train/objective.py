"""The training objective: loss of the prediction, plus a penalty on the weights, as one module."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "smooth_l1": F.smooth_l1_loss,
    "cross_entropy": F.cross_entropy,
    "bce": F.binary_cross_entropy_with_logits,
}


def accuracy(prediction: Tensor, y: Tensor) -> Tensor:
    """Share of right answers: prediction (batch, classes) and class numbers y, or one logit each and y in {0, 1}."""
    if not y.is_floating_point():
        return (prediction.argmax(-1) == y).float().mean()
    return ((prediction > 0) == (y > 0.5)).float().mean()


METRICS = {"accuracy": accuracy}


class NonFiniteLoss(ArithmeticError):
    """The loss, or a weight, stopped being finite. `step`, `lr` and `checkpoint` (path or None) say where."""

    def __init__(self, what: str, *, step: int, lr: float, checkpoint: str | None = None):
        self.step, self.lr, self.checkpoint = step, lr, checkpoint
        kept = f"last good checkpoint: {checkpoint}" if checkpoint else "no checkpoint was kept (give checkpoint=PATH)"
        super().__init__(f"{what} is not finite at step {step}, learning rate {lr:g}; {kept}")


class Objective(nn.Module):
    """`forward(x, y)` -> loss(model(x), y) + penalty(model), a scalar.

    Holding both in one module lets `torch.func.functional_call` and `torch.compile` see the whole objective, so a
    penalty on the weights (smoothness in depth, say) needs no special case anywhere.
    """

    def __init__(self, model: nn.Module, loss: str | Callable, penalty: Callable[[nn.Module], Tensor] | None = None):
        super().__init__()
        self.model, self.loss, self.penalty = model, choose(loss, LOSSES, "loss"), penalty

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        value = self.loss(self.model(x), y)
        return value if self.penalty is None else value + self.penalty(self.model)


def choose(which, table: dict, argument: str):
    """`which` itself if it can be called, else `table[which]`; ValueError names the argument and the choices."""
    if callable(which):
        return which
    if which not in table:
        raise ValueError(f"{argument}={which!r} is unknown: give a function or one of {', '.join(sorted(table))}")
    return table[which]


def whole(**values) -> None:
    """ValueError, by name, unless each value is a whole number of at least 1."""
    for name, value in values.items():
        if value < 1 or value % 1:
            raise ValueError(f"{name}={value!r}: expected a whole number of at least 1")


def metric_functions(metrics) -> dict[str, Callable]:
    """`metrics` as a dictionary: None, a name, a list of names, or name -> function(prediction, y)."""
    if metrics is None:
        return {}
    if isinstance(metrics, dict):
        return {name: choose(f, METRICS, "metrics") for name, f in metrics.items()}
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    return {name: choose(name, METRICS, "metrics") for name in names}


def met(value: float, target: float | None, monitor: str) -> bool:
    """Whether `value` is at least as good as the target: accuracies rise to it, everything else falls to it."""
    if target is None:
        return False
    return value >= target if monitor.endswith("accuracy") else value <= target


def all_finite(tensors) -> bool:
    """True where no tensor holds an infinity or a NaN."""
    return all(bool(torch.isfinite(t).all()) for t in tensors)
