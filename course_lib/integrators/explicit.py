"""Explicit one-step methods: euler, midpoint, heun, rk4.

Each takes one step of x' = f(t, x) from x at time t to time t + h and returns the new x. The field is called
as ``f(t, x)`` with t a 0-d tensor or a float; x has any shape (batch first), and the result has the same shape.
A negative h steps backward in time. Nothing is modified in place, so autograd runs through every step.

The order p is the exponent in: global error at a fixed time = O(h^p) for a field smooth enough. Coefficients
after Hairer, Nørsett and Wanner, *Solving Ordinary Differential Equations I* (1993), section II.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[Field, Tensor, Tensor, Tensor], Tensor]


def euler(f: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """Forward Euler, order 1: follow the tangent for a time h."""
    return x + h * f(t, x)


def midpoint(f: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """Explicit midpoint, order 2: use the slope half a step ahead (Runge 1895)."""
    k1 = f(t, x)
    return x + h * f(t + h / 2, x + h / 2 * k1)


def heun(f: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """Heun's method, order 2: average the slopes at both ends of an Euler step (Heun 1900)."""
    k1 = f(t, x)
    k2 = f(t + h, x + h * k1)
    return x + h / 2 * (k1 + k2)


def rk4(f: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """The classical Runge–Kutta method, order 4 (Kutta 1901); reduces to Simpson's rule if f ignores x."""
    half, middle = h / 2, t + h / 2
    k1 = f(t, x)
    k2 = f(middle, ahead(x, half, k1))
    k3 = f(middle, ahead(x, half, k2))
    k4 = f(t + h, ahead(x, h, k3))
    return ahead(x, h / 6, ahead(k1 + k4, 2.0, k2 + k3))  # x + h/6 (k1 + 2 k2 + 2 k3 + k4)


def ahead(x: Tensor, h: Tensor | float, k: Tensor) -> Tensor:
    """x + h·k, in one operation where h is a number: for small tensors the count of operations is the time."""
    return torch.add(x, k, alpha=h) if isinstance(h, float) else x + h * k


@dataclass(frozen=True)
class Method:
    """A one-step method: its step function, its order p and its evaluations of f in a step (stages).

    For an implicit method these are the slopes in its formula, without what it takes to solve for the step.
    """

    step: Step
    order: int
    stages: int


METHODS: dict[str, Method] = {
    "euler": Method(euler, order=1, stages=1),
    "midpoint": Method(midpoint, order=2, stages=2),
    "heun": Method(heun, order=2, stages=2),
    "rk4": Method(rk4, order=4, stages=4),
}
