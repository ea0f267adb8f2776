"""Operations of a network, and what a device reaches at its best: the two sides of a figure of throughput."""

from __future__ import annotations

import copy
import time
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..train.device import runtime
from .base import Setup


def flops_per_sample(model: nn.Module, x: Tensor) -> float:
    """Operations of matrix products and convolutions, forward and backward, a sample of x (batch, ...)."""
    model = copy.deepcopy(model).train()  # batch norm would take note of x
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops() / len(x)


def matrix_teraflops(setup: Setup) -> float:
    """What the device reaches at its best: 10^12 operations a second in products of large square matrices.

    In the precision that `fit` takes here; the median of nine, times the number of processes.
    """
    run = runtime(nn.Identity(), device=setup.torch_device(), precision=setup.precision)
    n = 8192 if run.device.type == "cuda" else 512
    a = torch.randn(n, n, device=run.device, dtype=run.autocast or torch.float32)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for the device
        times.append(time.perf_counter() - start)
    return setup.processes * 2 * n**3 / median(times[3:]) / 1e12
