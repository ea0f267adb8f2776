"""Measure a model on data without training it, and read its counters of function evaluations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .device import Runtime


@torch.no_grad()
def evaluate(model: nn.Module, tests: dict[str, Callable], batches, run: Runtime) -> dict[str, float]:
    """Each test(prediction, y) over all of `batches`, weighted by their sizes; function evaluations are not counted."""
    training = model.training
    model.eval()
    kept = [(m, m.nfe_forward, m.nfe_backward) for m in counting(model)]
    totals, count = dict.fromkeys(tests, 0.0), 0
    for x, y in batches.in_order():
        with run.cast():
            prediction = model(x)
        if prediction.dtype == torch.bfloat16:
            prediction = prediction.float()
        for name, test in tests.items():
            totals[name] += test(prediction, y) * len(x)
        count += len(x)
    for m, forward, backward in kept:
        m.nfe_forward, m.nfe_backward = forward, backward
    model.train(training)
    return {name: float(total) / count for name, total in totals.items()}


def counting(model: nn.Module) -> list[nn.Module]:
    """The modules that count: those with integers `nfe_forward` and `nfe_backward`, which only ever grow."""
    return [m for m in model.modules() if hasattr(m, "nfe_forward")]


def evaluations(counters: list[nn.Module]) -> list[int]:
    """Forward and backward function evaluations so far, over the modules that count them."""
    return [sum(getattr(m, name) for m in counters) for name in ("nfe_forward", "nfe_backward")]
