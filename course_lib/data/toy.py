"""Toy problems: a 1-D target, two spirals, two moons, the flip of a line (A_1) and the annulus (A_2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Split(NamedTuple):
    """x (n, d) and y (n, 1) for training, and the same for validation."""

    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor

    @property
    def train(self) -> tuple[Tensor, Tensor]:
        return self.x, self.y

    @property
    def validation(self) -> tuple[Tensor, Tensor]:
        return self.x_val, self.y_val


def damped_wave(x: Tensor) -> Tensor:
    """sin(2 pi x) exp(-x²/2), the 1-D target of Reshniak and Webster 2019 (arXiv 1905.10479), example 1."""
    return torch.sin(2 * math.pi * x) * torch.exp(-(x**2) / 2)


def damped_wave_points(n: int = 100, *, seed: int, n_val: int = 200, dtype: torch.dtype = torch.float32) -> Split:
    """`damped_wave` at n points drawn from U(-1, 1), and at n_val equispaced ones of [-1, 1]: example 1's data."""
    x = 2 * torch.rand(n, 1, generator=_generator(seed), dtype=dtype) - 1
    x_val = torch.linspace(-1, 1, n_val, dtype=dtype)[:, None]
    return Split(x, damped_wave(x), x_val, damped_wave(x_val))


def swiss_roll(points: int = 513, *, dtype: torch.dtype = torch.float32) -> Split:
    """Two spirals of two turns, y in {0, 1}: example 2 of Reshniak and Webster, after Haber and Ruthotto 2017.

    `points` a class at angles 0 to 4 pi; radius from 0 to 1 in class 0 and from 0.2 to 1.2 in class 1. Of the points in
    order, class 0 first, the odd ones train and the even ones validate. Nothing is random.
    """
    angle = torch.linspace(0, 4 * math.pi, points, dtype=dtype)
    radius = torch.linspace(0, 1, points, dtype=dtype)
    ray = torch.stack((torch.cos(angle), torch.sin(angle)), 1)
    x = torch.cat((radius[:, None] * ray, (radius[:, None] + 0.2) * ray))
    y = torch.cat((torch.zeros(points, 1, dtype=dtype), torch.ones(points, 1, dtype=dtype)))
    return Split(x[1::2], y[1::2], x[0::2], y[0::2])


def moons(n: int = 200, *, seed: int, noise: float = 0.1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Two half circles, one the other upside down and moved into it; x (2n, 2), y (2n, 1) in {0, 1}, class 0 first.

    Angles are uniform, and every coordinate has Gaussian noise of standard deviation `noise`.
    """
    g = _generator(seed)
    angle = math.pi * torch.rand(n, generator=g, dtype=dtype)
    upper = torch.stack((angle.cos(), angle.sin()), 1)
    lower = torch.stack((1 - angle.cos(), 0.5 - angle.sin()), 1)
    x = torch.cat((upper, lower)) + noise * torch.randn(2 * n, 2, generator=g, dtype=dtype)
    return x, torch.cat((torch.zeros(n, 1, dtype=dtype), torch.ones(n, 1, dtype=dtype)))


def flip(n: int | None = None, *, seed: int | None = None, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A_1 of Dupont, Doucet and Teh 2019: x is -1 or 1, the target is -x. Two tensors (n, 1).

    n None: the two points, once each. Else n points drawn at random with `seed` (500 in the authors' notebook), whose
    two classes are then only nearly of one size.
    """
    if n is None:
        x = torch.tensor([[-1.0], [1.0]], dtype=dtype)
    elif seed is None:
        raise ValueError("flip(n) draws points at random: give seed=..., or leave n out for the two points")
    else:
        x = 2 * torch.randint(0, 2, (n, 1), generator=_generator(seed)).to(dtype) - 1
    return x, -x


def annulus(
    n_inner: int = 500,
    n_outer: int = 1500,
    *,
    seed: int,
    radii: tuple[float, float, float] = (0.5, 1.0, 1.5),
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """A_2 of Dupont, Doucet and Teh 2019: a disc of radius r1 with target -1, a ring between r2 and r3 with target 1.

    Directions are uniform and radii as in the authors' loader, r_min + (r_max - r_min) sqrt(u): uniform in the disc,
    but in the ring thinner towards its inner edge. x is (n_inner + n_outer, 2), y (n_inner + n_outer, 1), the disc
    first.
    """
    g = _generator(seed)
    parts = []
    for n, low, high in ((n_inner, 0.0, radii[0]), (n_outer, radii[1], radii[2])):
        direction = torch.randn(n, 2, generator=g, dtype=dtype)
        direction /= direction.norm(dim=1, keepdim=True)
        parts.append(direction * (low + (high - low) * torch.rand(n, 1, generator=g, dtype=dtype).sqrt()))
    y = torch.cat((-torch.ones(n_inner, 1, dtype=dtype), torch.ones(n_outer, 1, dtype=dtype)))
    return torch.cat(parts), y


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
