"""Step size control: how large a step's error is, how long the first step and the next one should be.

After Hairer, Nørsett and Wanner, *Solving Ordinary Differential Equations I* (1993), section II.4.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Norm = Callable[[Tensor], Tensor]
SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0  # aim below the tolerance; bounds on what one step may do to h
STRETCH = 1.1  # what is left after the last step may be so much longer than h: SAFETY leaves room for that


def rms(v: Tensor) -> Tensor:
    """Root mean square of all entries: the size of a typical one, whatever their number."""
    return torch.linalg.vector_norm(v) / v.numel() ** 0.5


def error_ratio(e: Tensor, x: Tensor, y: Tensor, rtol: float, atol: float, norm: Norm) -> float:
    """Error e of the step from x to y in units of the tolerance (II.4.11): the step is good if this is at most 1."""
    allowed = torch.maximum(x.abs(), y.abs()).mul_(rtol).add_(atol)
    return float(norm(e / allowed))


def next_step(h: float, error: float, before: float, order: int = 5, beta: float = 0.0) -> float:
    """The size to try after a step h with this error ratio; ``before`` is the ratio of the last accepted step.

    The error is C·h^order with C unknown: the step that would have met the tolerance is h·error^(-1/order). That is the
    I controller, beta = 0. With beta > 0 (0.04 is common) the trend of the error counts too, and h varies more
    smoothly: the PI controller (volume II, section IV.2). A step that failed is never followed by a longer one.
    """
    if not error < float("inf"):  # overflow or NaN: the step was far too long
        return h * SHRINK
    most = GROW if error <= 1 else 1.0
    if error == 0:
        return h * most
    factor = SAFETY * error ** (0.75 * beta - 1 / order) * max(before, 1e-4) ** beta
    return h * min(most, max(SHRINK, factor))


def first_step(f, t: float, x: Tensor, k: Tensor, span: float, rtol: float, atol: float, norm: Norm) -> float:
    """A first step size, by one more evaluation of f: the algorithm of II.4, k = f(t, x), span = end - t."""
    allowed = x.abs() * rtol + atol
    size, slope = float(norm(x / allowed)), float(norm(k / allowed))
    trial = 1e-6 if min(size, slope) < 1e-5 else 0.01 * size / slope
    trial = min(trial, abs(span)) * (1 if span > 0 else -1)
    bend = f(torch.tensor(t + trial, dtype=x.dtype, device=x.device), x + trial * k) - k
    largest = max(slope, float(norm(bend / allowed)) / abs(trial))
    if not largest < float("inf"):
        return trial
    h = max(1e-6, 1e-3 * abs(trial)) if largest <= 1e-15 else (0.01 / largest) ** 0.2
    return min(100 * abs(trial), h, abs(span)) * (1 if span > 0 else -1)
