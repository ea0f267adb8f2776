"""Methods for partitioned systems y' = f(t, z), z' = g(t, y): symplectic_euler, verlet, leapfrog.

Each updates one half of the state by a field of the other half alone, so each update is undone exactly by its
negative: the methods are invertible without solving anything. The state x = (y, z) is one tensor, y in the first
half of an axis and z in the second; ``Partitioned(f, g)`` is its field, and works with every other method too.

Names as in Hairer, Lubich and Wanner, *Geometric Numerical Integration* (2006), sections I.1.4 and VI.3. What
networks call Verlet, "step y with the updated z", is symplectic_euler: order 1 and not symmetric. The literature
calls both second-order methods by both names; here verlet halves the step of z, leapfrog that of y.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .explicit import Field, Method


@dataclass(frozen=True)
class Partitioned:
    """The field of y' = f(t, z), z' = g(t, y) on x = (y, z), halves of equal size along ``dim`` (the last axis)."""

    f: Field
    g: Field
    dim: int = -1

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim == 0 or x.shape[self.dim] % 2:
            raise ValueError(f"x: axis {self.dim} of shape {tuple(x.shape)} has no two halves; put y and z along it.")
        y, z = x.chunk(2, self.dim)
        return y, z

    def join(self, y: Tensor, z: Tensor) -> Tensor:
        return torch.cat((y, z), self.dim)

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        y, z = self.split(x)
        return self.join(self.f(t, z), self.g(t, y))


def need_partitioned(s: object) -> Partitioned:
    if not isinstance(s, Partitioned):
        kind = type(s).__name__
        raise TypeError(f"f: a partitioned method needs Partitioned(f, g), two fields of the halves, not a {kind}.")
    return s


def symplectic_euler(s: Partitioned, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """Symplectic Euler, order 1: step z from y, then y from the new z (de Vogelaere 1956)."""
    s = need_partitioned(s)
    y, z = s.split(x)
    z = z + h * s.g(t, y)
    return s.join(y + h * s.f(t + h, z), z)


def verlet(s: Partitioned, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """Verlet (Störmer–Verlet, "velocity Verlet"), order 2, symmetric: half a step of z, one of y, half a step of z."""
    s = need_partitioned(s)
    y, z = s.split(x)
    z = z + h / 2 * s.g(t, y)
    y = y + h * s.f(t + h / 2, z)
    return s.join(y, z + h / 2 * s.g(t + h, y))


def leapfrog(s: Partitioned, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """Leapfrog ("position Verlet"), order 2, symmetric: half a step of y, one of z, half a step of y."""
    s = need_partitioned(s)
    y, z = s.split(x)
    y = y + h / 2 * s.f(t, z)
    z = z + h * s.g(t + h / 2, y)
    return s.join(y + h / 2 * s.f(t + h, z), z)


PARTITIONED: dict[str, Method] = {
    "symplectic_euler": Method(symplectic_euler, order=1, stages=1),
    "verlet": Method(verlet, order=2, stages=2),
    "leapfrog": Method(leapfrog, order=2, stages=2),
}
