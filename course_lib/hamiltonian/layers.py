"""Layers that unroll a stable differential equation: antisymmetric and Hamiltonian, dense and convolutional.

    antisymmetric:  x' = σ((K - Kᵀ - gamma I) x + b)
    Hamiltonian:    y' = σ(K z + b1),  z' = σ(-Kᵀ y + b2)      with x = (y, z), halves of axis 1

Haber and Ruthotto, *Stable architectures for deep neural networks* (arXiv 1705.03341): antisymmetric weights and
Hamiltonian-inspired nets.
A layer takes ``steps`` steps of size h of the method named, with one set of weights (shared) or one for every step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..integrators import METHODS, Partitioned
from ..integrators.solve import find_method
from .operators import Conv2d, Dense, Operator
from .reversible import Plan, ReversiblePass
from .shears import PARTS, schedule

FUNCTIONS = {"relu": torch.relu, "tanh": torch.tanh}
# Antiderivatives; log cosh in a form that does not overflow.
PRIMITIVES = {
    "relu": lambda u: torch.relu(u) ** 2 / 2,
    "tanh": lambda u: u.abs() + torch.nn.functional.softplus(-2 * u.abs()) - math.log(2),
}
EXPLICIT = ("euler", "midpoint")


class Unrolled(nn.Module):
    """What the two kinds of layer share: K with its weights, the number of steps, h, the method and σ."""

    def __init__(self, K: Operator, shape: tuple[int, ...], biases: int, *, steps: int, h: float, method: str,
                 methods: tuple[str, ...], activation: str, shared: bool, generator: torch.Generator | None):
        super().__init__()
        if method not in methods:
            raise ValueError(f"method: {method!r} is unknown here; choose one of {', '.join(methods)}.")
        if activation not in FUNCTIONS:
            raise ValueError(f"activation: {activation!r} is unknown; choose one of {', '.join(FUNCTIONS)}.")
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps: expected a whole number of at least 1, got {steps!r}.")
        self.map, self.steps, self.h, self.method = K, steps, h, method
        self.activation, self.shared = activation, shared
        # He et al., arXiv 1502.01852, equation 10, for ReLU; without its factor 2 for tanh.
        std = math.sqrt((2 if activation == "relu" else 1) / math.prod(shape[1:]))
        sets = range(1 if shared else steps)
        self.K = nn.ParameterList([torch.randn(shape, generator=generator) * std for _ in sets])
        self.b = nn.ParameterList([torch.zeros(shape[0]) for _ in range(biases) for _ in sets])

    def states(self, x: Tensor) -> list[Tensor]:
        """x and the states after each of the steps, by the method's own one-step function."""
        step, path = find_method(self.method).step, [x]
        for k in range(self.steps):
            path.append(step(self.field(k), k * self.h, path[-1], self.h))
        return path

    def extra_repr(self) -> str:
        sharing = "shared" if self.shared else "unshared"
        return f"{self.method}, steps={self.steps}, h={self.h}, {self.activation}, {sharing}"


class Antisymmetric(Unrolled):
    """x <- x + h σ((K - Kᵀ - gamma I) x + b) and its relatives by other methods; use the dense or conv subclass."""

    def __init__(self, K: Operator, shape: tuple[int, ...], *, gamma: float, **options):
        super().__init__(K, shape, 1, methods=tuple(METHODS), **options)
        self.gamma = gamma

    def field(self, step: int = 0):
        """The field f(t, x) of one step (with shared weights, of all)."""
        layer = 0 if self.shared else step
        W, b, sigma = self.K[layer], self.b[layer], FUNCTIONS[self.activation]
        return lambda t, x: sigma(self.map.apply(W, x, b) - self.map.adjoint(W, x) - self.gamma * x)

    def forward(self, x: Tensor) -> Tensor:
        return self.states(x)[-1]


class Hamiltonian(Unrolled):
    """The Hamiltonian layer; use the dense or the conv subclass.

    The data belong in y, the first half of axis 1; z may be zero at the start (``ChannelZeroPadding``).
    reversible=True rebuilds the states in the backward pass from the output. check_every=n compares them with one kept
    every n steps: ReconstructionError beyond tolerance, a share of its largest entry (None: the root of rounding).
    """

    def __init__(self, K: Operator, shape: tuple[int, ...], *, reversible: bool = False, check_every: int | None = None,
                 tolerance: float | None = None, **options):
        super().__init__(K, shape, 2, methods=(*EXPLICIT, *PARTS), **options)
        if reversible and self.method not in PARTS:
            raise ValueError(f"reversible: {self.method!r} cannot be undone; choose one of {', '.join(PARTS)}.")
        if check_every is not None and (not reversible or check_every < 1):
            raise ValueError("check_every: goes with reversible=True, as a number of steps of at least 1.")
        self.reversible, self.check_every, self.tolerance = reversible, check_every, tolerance

    def weights(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """K, b1 and b2 of a step."""
        layer, sets = (0 if self.shared else step), len(self.K)
        return self.K[layer], self.b[layer], self.b[sets + layer]

    def field(self, step: int = 0) -> Partitioned:
        """The field of one step (with shared weights, of all), for ``integrators.solve`` with any method."""
        W, b1, b2 = self.weights(step)
        sigma = FUNCTIONS[self.activation]
        return Partitioned(
            lambda t, z: sigma(self.map.apply(W, z, b1)), lambda t, y: sigma(self.map.adjoint(-W, y, b2)), dim=1
        )

    def energy(self, x: Tensor, step: int = 0) -> Tensor:
        """Φ(K z + b1) + Φ(-Kᵀ y + b2) summed over components, Φ' = σ: (batch,). The flow of a step's field keeps it."""
        W, b1, b2 = self.weights(step)
        y, z = self.field().split(x)
        primitive = PRIMITIVES[self.activation]
        return sum(primitive(u).flatten(1).sum(1) for u in (self.map.apply(W, z, b1), self.map.adjoint(-W, y, b2)))

    def forward(self, x: Tensor) -> Tensor:
        if self.method in EXPLICIT:
            return self.states(x)[-1]
        shears = schedule(self.method, self.steps, shared=self.shared)
        if self.reversible:
            every = None if self.check_every is None else 2 * self.check_every  # a step has two shears
            plan = Plan(self.map, self.activation, self.h, shears, every, self.tolerance)
            return ReversiblePass.apply(plan, x, *self.K, *self.b)
        y, z = self.field().split(x)
        for shear in shears:
            s, c = self.field(shear.layer), shear.c * self.h
            if shear.half == "y":
                y = y + c * s.f(0.0, z)
            else:
                z = z + c * s.g(0.0, y)
        return torch.cat((y, z), 1)

    def inverse(self, x: Tensor) -> Tensor:
        """The input that leads to the output x, by undoing every update; ValueError for methods that cannot."""
        if self.method not in PARTS:
            raise ValueError(f"method: {self.method!r} cannot be undone; choose one of {', '.join(PARTS)}.")
        y, z = self.field().split(x)
        for shear in reversed(schedule(self.method, self.steps, shared=self.shared)):
            s, c = self.field(shear.layer), shear.c * self.h
            if shear.half == "y":
                y = y - c * s.f(0.0, z)
            else:
                z = z - c * s.g(0.0, y)
        return torch.cat((y, z), 1)


def half(width: int, name: str) -> int:
    if not isinstance(width, int) or width < 2 or width % 2:
        raise ValueError(f"{name}: the state has two halves, so give an even number of at least 2, not {width!r}.")
    return width // 2


class HamiltonianDense(Hamiltonian):
    """The Hamiltonian layer on rows: (batch, width) to the same, width even."""

    def __init__(self, width: int, *, steps: int, h: float, method: str = "verlet", activation: str = "tanh",
                 shared: bool = True, generator: torch.Generator | None = None, **options):
        m = half(width, "width")
        super().__init__(Dense(), (m, m), steps=steps, h=h, method=method, activation=activation, shared=shared,
                         generator=generator, **options)


class HamiltonianConv2d(Hamiltonian):
    """The Hamiltonian layer on images: (batch, channels, H, W) to the same, channels even."""

    def __init__(self, channels: int, *, kernel_size: int = 3, dilation: int = 1, steps: int, h: float,
                 method: str = "verlet", activation: str = "relu", shared: bool = True,
                 generator: torch.Generator | None = None, **options):
        m, K = half(channels, "channels"), same_size(kernel_size, dilation)
        super().__init__(K, (m, m, kernel_size, kernel_size), steps=steps, h=h, method=method, activation=activation,
                         shared=shared, generator=generator, **options)


class AntisymmetricDense(Antisymmetric):
    """The antisymmetric layer on rows: (batch, width) to the same. Of K only the antisymmetric half acts."""

    def __init__(self, width: int, *, steps: int, h: float, gamma: float = 0.0, method: str = "euler",
                 activation: str = "tanh", shared: bool = True, generator: torch.Generator | None = None):
        super().__init__(Dense(), (width, width), gamma=gamma, steps=steps, h=h, method=method, activation=activation,
                         shared=shared, generator=generator)


class AntisymmetricConv2d(Antisymmetric):
    """The antisymmetric layer on images: (batch, channels, H, W) to the same."""

    def __init__(self, channels: int, *, kernel_size: int = 3, dilation: int = 1, steps: int, h: float,
                 gamma: float = 0.0, method: str = "euler", activation: str = "relu", shared: bool = True,
                 generator: torch.Generator | None = None):
        super().__init__(same_size(kernel_size, dilation), (channels, channels, kernel_size, kernel_size), gamma=gamma,
                         steps=steps, h=h, method=method, activation=activation, shared=shared, generator=generator)


def same_size(kernel_size: int, dilation: int) -> Conv2d:
    """The convolution that keeps height and width; ValueError for an even kernel, which cannot."""
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size: an even kernel ({kernel_size}) changes the size of the image; give an odd one.")
    return Conv2d(padding=dilation * (kernel_size // 2), dilation=dilation)
