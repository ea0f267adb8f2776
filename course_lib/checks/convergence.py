"""Checks on integrators: the observed order on problems with known solutions, and where the field is evaluated.

An integrator is called as ``integrate(f, x0, t0, t1, steps)`` and returns the state at t1 after that many equal steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .compare import answer
from .score import CheckFailed

Integrate = Callable[..., Tensor]


@dataclass(frozen=True)
class Problem:
    """x' = f(t, x) on [t0, t1] with a known solution; x0 in float64."""

    name: str
    f: Callable[[float, Tensor], Tensor]
    t0: float
    t1: float
    x0: Tensor
    end: Tensor


def problems() -> tuple[Problem, ...]:
    """One linear, one that depends on time (and starts at t0 = 0.5), one that is nonlinear."""
    a = torch.tensor([1.0, -0.5], dtype=torch.float64)
    b = torch.tensor([[0.2], [0.5], [1.5]], dtype=torch.float64)
    return (
        Problem("x' = x", lambda t, x: x, 0.0, 1.0, a, a * math.e),
        Problem("x' = −2tx", lambda t, x: -2 * t * x, 0.5, 1.5, a, a * math.exp(0.5**2 - 1.5**2)),
        Problem("x' = x(1 − x)", lambda t, x: x * (1 - x), 0.0, 1.0, b, b * math.e / (1 + b * (math.e - 1))),
    )


def repeat(step: Callable[..., Tensor]) -> Integrate:
    """An integrator out of a one-step function ``step(f, t, x, h)``."""

    def integrate(f: Callable, x0: Tensor, t0: float, t1: float, steps: int) -> Tensor:
        x, h = x0, (t1 - t0) / steps
        for k in range(steps):
            x = answer(step(f, t0 + k * h, x, h), what="the state after a step", shape=x0.shape)
        return x

    return integrate


def order(integrate: Integrate, expected: int, *, method: str, tol: float = 0.15) -> None:
    """Check the observed order: the exponent p in error = O(h^p), from 32 and 128 steps on three problems.

    Raises
    ------
    CheckFailed
        With the factor by which halving h divides the error, and the factor that ``method`` has.
    """
    for problem in problems():
        errors = []
        for steps in (32, 128):
            # A copy, so that code that works in place is judged by what it returns.
            x = integrate(problem.f, problem.x0.clone(), problem.t0, problem.t1, steps)
            x = answer(x, what=f"{method} on {problem.name}, {steps} steps", shape=problem.x0.shape)
            errors.append((x - problem.end).abs().max().item())
        if min(errors) < 1e-13:
            raise CheckFailed(f"on {problem.name} your error is {errors[1]:.1g}: that is not {method}.")
        p = math.log2(errors[0] / errors[1]) / 2
        if abs(p - expected) > tol:
            found = f"on {problem.name}, halving h divides your error by {2**p:.1f}"
            raise CheckFailed(f"{found}; {method} divides it by {2**expected}: {diagnose(p, expected)}")
    print(f"holds: order {expected} on {len(problems())} problems with known solutions")


def diagnose(p: float, expected: int) -> str:
    """What an observed order p in place of the expected one points to."""
    if p > expected:
        return f"that is order {p:.0f}, another method than the one asked for."
    if p < 0.5:
        return "is every slope multiplied by h, with a plus sign, and does each step start from the state before it?"
    return f"that is order {p:.0f}; at which time and at which state is each slope taken?"


def evaluations(integrate: Integrate, times: Sequence[float], *, what: str, t0: float, t1: float, steps: int) -> None:
    """Check at which times the field is evaluated (each at least once, and no others)."""
    called: set[float] = set()

    def f(t: float, x: Tensor) -> Tensor:
        called.add(round(float(t), 9))
        return torch.zeros_like(x)

    integrate(f, torch.zeros(1, dtype=torch.float64), t0, t1, steps)
    wanted = {round(float(t), 9) for t in times}
    for kind, extra in (("does not use the slope", wanted - called), ("uses a slope", called - wanted)):
        if extra:
            listed = ", ".join(f"{t:g}" for t in sorted(extra))
            raise CheckFailed(f"{what}: your code {kind} at t = {listed}.")
    print(f"holds: {what}: slopes at t = {', '.join(f'{t:g}' for t in sorted(wanted))}")
