"""Vector fields with known behaviour: harmonic oscillator, cubic spiral, Lotka–Volterra, damped pendulum.

Each is a small frozen record of parameters, called as ``f(t, x)`` with x of shape (..., 2) (batch first; t is ignored:
all are autonomous) and returning dx/dt of the same shape. Parameters are floats or tensors of x's batch shape
(x.shape[:-1]), so that one call evaluates a family of systems, and autograd runs through them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Parameter = float | Tensor


def _planar(x: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim == 0 or x.shape[-1] != 2:
        raise ValueError(f"x: expected shape (..., 2), got {tuple(x.shape)}; the last axis holds the two variables.")
    return x[..., 0], x[..., 1]


@dataclass(frozen=True)
class Oscillator:
    """Harmonic oscillator q' = omega p, p' = -omega q: x = (q, p) turns clockwise by omega radians a unit of time."""

    omega: Parameter = 1.0

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        q, p = _planar(x)
        return torch.stack((self.omega * p, -self.omega * q), dim=-1)

    def energy(self, x: Tensor) -> Tensor:
        """Conserved: omega (q² + p²) / 2, shape (...)."""
        q, p = _planar(x)
        return self.omega * (q**2 + p**2) / 2

    def flow(self, t: Parameter, x: Tensor) -> Tensor:
        """The exact solution after a time t (float or shape (...)) from x, shape (..., 2)."""
        q, p = _planar(x)
        angle = torch.as_tensor(self.omega * t, dtype=x.dtype, device=x.device)
        return torch.stack((angle.cos() * q + angle.sin() * p, angle.cos() * p - angle.sin() * q), dim=-1)


@dataclass(frozen=True)
class CubicSpiral:
    """u' = A u³ (componentwise cube), A = ((-a, b), (-b, -a)): a decaying spiral with a = 0.1, b = 2.

    Published code (torchdiffeq's ``ode_demo.py``; the DiffEqFlux example) computes the row form u³ A, that is Aᵀ u³,
    which turns the other way: ``transposed=True``. From (2, 0), A u³ starts downwards and Aᵀ u³ upwards.
    """

    a: float = 0.1
    b: float = 2.0
    transposed: bool = False

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        u, v = (component**3 for component in _planar(x))
        b = -self.b if self.transposed else self.b
        return torch.stack((-self.a * u + b * v, -b * u - self.a * v), dim=-1)

    def quartic(self, x: Tensor) -> Tensor:
        """(u⁴ + v⁴) / 4, shape (...): falls at the rate a (u⁶ + v⁶), whichever way the spiral turns."""
        u, v = _planar(x)
        return (u**4 + v**4) / 4


@dataclass(frozen=True)
class LotkaVolterra:
    """Prey u and predator v: u' = (alpha - beta v) u, v' = (-gamma + delta u) v (Lotka 1920, Volterra 1926).

    alpha and gamma are rates (1/time); beta and delta are rates per unit of the other species.
    """

    alpha: Parameter
    beta: Parameter
    gamma: Parameter
    delta: Parameter

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        u, v = _planar(x)
        return x * torch.stack((self.alpha - self.beta * v, self.delta * u - self.gamma), dim=-1)

    def conserved(self, x: Tensor) -> Tensor:
        """V = delta u - gamma log u + beta v - alpha log v, shape (...); constant on every orbit with u, v > 0."""
        u, v = _planar(x)
        return self.delta * u - self.gamma * u.log() + self.beta * v - self.alpha * v.log()

    @property
    def equilibrium(self) -> tuple[Parameter, Parameter]:
        """The coexistence equilibrium (gamma / delta, alpha / beta); (0, 0) is the other one."""
        return self.gamma / self.delta, self.alpha / self.beta

    @property
    def small_period(self) -> Parameter:
        """Period of small oscillations around the equilibrium, 2 pi / sqrt(alpha gamma); larger orbits take longer."""
        return 2 * torch.pi / (self.alpha * self.gamma) ** 0.5


@dataclass(frozen=True)
class DampedPendulum:
    """Angle q (radians) and its velocity p: q' = p, p' = -omega² sin q - damping p."""

    omega: Parameter = 1.0
    damping: Parameter = 0.0

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        q, p = _planar(x)
        return torch.stack((p, -(self.omega**2) * q.sin() - self.damping * p), dim=-1)

    def energy(self, x: Tensor) -> Tensor:
        """p² / 2 + omega² (1 - cos q), shape (...): falls at the rate damping · p², conserved without damping."""
        q, p = _planar(x)
        return p**2 / 2 + self.omega**2 * (1 - q.cos())
