"""Checks of chapter 2: order and symmetry of a step on two halves, and adjoints.

A partitioned step is called as ``step(f, g, y, z, h)`` for y' = f(z), z' = g(y) and returns the new (y, z).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .compare import answer, parts
from .convergence import diagnose
from .score import CheckFailed

Step = Callable[..., tuple[Tensor, Tensor]]


def pair(result: object, *, what: str, like: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves that a step returned, if they are two tensors shaped like ``like``."""
    y, z = parts(result, "y", "z", what=what)
    return answer(y, what=f"{what}, y", shape=like.shape), answer(z, what=f"{what}, z", shape=like.shape)


def pendulum() -> tuple[Callable, Callable, Tensor, Tensor]:
    """y' = z, z' = -sin y as (f, g, y0, z0)."""
    y = torch.tensor([1.2, -0.4], dtype=torch.float64)
    return (lambda z: z), (lambda y: -torch.sin(y)), y, torch.tensor([0.3, 0.9], dtype=torch.float64)


def run(step: Step, T: float, steps: int) -> tuple[Tensor, Tensor]:
    """The pendulum at time T after so many equal steps."""
    f, g, y, z = pendulum()
    for _ in range(steps):
        y, z = pair(step(f, g, y.clone(), z.clone(), T / steps), what="one step on the pendulum", like=y)
    return y, z


def partitioned_order(step: Step, expected: int, *, method: str, tol: float = 0.15) -> None:
    """Check the observed order of a partitioned step on the pendulum, both halves.

    Raises
    ------
    CheckFailed
        With the factor by which halving h divides the error, and the one that ``method`` has.
    """
    def reference(f, g, y, z, h):  # Verlet with steps so small that its error does not count
        for _ in range(64):
            z = z + h / 128 * g(y)
            y = y + h / 64 * f(z)
            z = z + h / 128 * g(y)
        return y, z

    end, errors = torch.cat(run(reference, 1.0, 128)), []
    for steps in (32, 128):
        errors.append(float((torch.cat(run(step, 1.0, steps)) - end).abs().max()))
    p = math.log2(errors[0] / errors[1]) / 2
    if abs(p - expected) > tol:
        found = f"on the pendulum, halving h divides your error by {2**p:.1f}"
        raise CheckFailed(f"{found}; {method} divides it by {2**expected}: {diagnose(p, expected)}")
    print(f"holds: order {expected} on the pendulum")


def symmetric(step: Step, *, method: str, h: float = 0.3) -> None:
    """Check that a step of h followed by a step of -h returns to the start, to rounding."""
    f, g, y, z = pendulum()
    there = pair(step(f, g, y.clone(), z.clone(), h), what=f"a step of h = {h}", like=y)
    back = pair(step(f, g, *there, -h), what=f"a step of h = {-h}", like=y)
    miss = float(torch.cat((back[0] - y, back[1] - z)).abs().max())
    if miss > 1e-12:
        raise CheckFailed(f"a step of {h}, then one of {-h}, misses the start by {miss:.2g}; {method} returns to it.")
    print(f"holds: {method} is symmetric: h, then -h, returns to the start")


def adjoint(
    K: Callable[[Tensor], Tensor], transposed: Callable[[Tensor], Tensor], z: Tensor, y: Tensor, *, what: str
) -> None:
    """Check ⟨K z, y⟩ = ⟨z, Kᵀ y⟩ for ``transposed`` = Kᵀ on draws z and y."""
    image = answer(transposed(y), what=what, shape=z.shape)
    left, right = float((K(z) * y).sum()), float((z * image).sum())
    if abs(left - right) > 1e-10 * (1 + abs(left)):
        raise CheckFailed(f"{what}: ⟨Kz, y⟩ = {left:.6g}, but ⟨z, Kᵀy⟩ = {right:.6g}; an adjoint makes them equal.")
    print(f"holds: {what}: ⟨Kz, y⟩ = ⟨z, Kᵀy⟩")


class OnlyConvolutions(TorchDispatchMode):
    """While active, refuses transposed convolutions, those of a backward pass, and matrix products.

    Of an answer that runs in another process, as in marking, nothing is seen.
    """

    MATRICES = frozenset(("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addbmm", "addmv", "im2col", "col2im"))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name == "convolution" and (args[6] if len(args) > 6 else (kwargs or {}).get("transposed")):
            raise CheckFailed("a transposed convolution was called; write the adjoint with conv2d, by its kernel.")
        if name == "convolution_backward":
            raise CheckFailed("automatic differentiation was used; write the adjoint with conv2d, by its kernel.")
        if name in self.MATRICES:
            raise CheckFailed("a product of matrices was taken; write the adjoint with conv2d alone.")
        return func(*args, **(kwargs or {}))
