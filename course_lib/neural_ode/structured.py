"""Fields with something known built in, several seeds at once: second order, friction, prey and predators.

Each is a module f(t, x), x of shape (..., seeds, d), t ignored; a net with a hidden layer of tanh stands for the part
that is not known. Every seed has its own weights, drawn from it alone, and all seeds are one batched product: in a long
rollout, where each operation is small, that is five times as fast as ``torch.func.vmap`` and needs no tracing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SeedNet(nn.Module):
    """W_2 tanh(W_1 x + b_1) + b_2 for every seed: (..., seeds, inputs) -> (..., seeds, outputs).

    Weights start uniform within 1 / sqrt(fan-in), as PyTorch's linear layers do.

    Parameters
    ----------
    seeds
        A whole number for each net; the same number gives the same net whatever the others are.
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, *, seeds: Sequence[int], dtype: torch.dtype = torch.float32
    ):
        super().__init__()
        if not len(seeds):
            raise ValueError("seeds: give at least one whole number, e.g. seeds=range(5).")
        parts: dict[str, list[Tensor]] = {"w1": [], "b1": [], "w2": [], "b2": []}
        for seed in seeds:
            draw = torch.Generator().manual_seed(int(seed))
            for k, (n, m) in enumerate(((inputs, hidden), (hidden, outputs)), start=1):
                for name, rows in ((f"w{k}", n), (f"b{k}", 1)):
                    uniform = 2 * torch.rand(rows, m, generator=draw, dtype=torch.float64) - 1
                    parts[name].append(uniform / n**0.5)
        for name, values in parts.items():
            setattr(self, name, nn.Parameter(torch.stack(values).to(dtype)))

    def forward(self, x: Tensor) -> Tensor:
        seeds, inputs = self.w1.shape[:2]
        if x.shape[-2:] != (seeds, inputs):
            raise ValueError(f"x: expected shape (..., {seeds}, {inputs}), a row for each seed, got {tuple(x.shape)}.")
        rows = x.reshape(-1, seeds, inputs).transpose(0, 1)  # (seeds, batch, inputs)
        inside = torch.baddbmm(self.b1, rows, self.w1).tanh()
        return torch.baddbmm(self.b2, inside, self.w2).transpose(0, 1).reshape(*x.shape[:-1], -1)

    def squares(self) -> Tensor:
        """Sum of squared weights, biases left out, of each seed, (seeds,): what weight decay pulls down."""
        return self.w1.square().sum((1, 2)) + self.w2.square().sum((1, 2))


class Unstructured(nn.Module):
    """x' = net(x): nothing is known. x of shape (..., seeds, dim)."""

    def __init__(self, dim: int, hidden: int, *, seeds: Sequence[int], dtype: torch.dtype = torch.float32):
        super().__init__()
        self.net = SeedNet(dim, hidden, dim, seeds=seeds, dtype=dtype)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.net(x)


class SecondOrder(nn.Module):
    """q' = p, p' = net(q, p): p is known to be the velocity of q, nothing else is. x = (q, p), (..., seeds, 2 dim)."""

    def __init__(self, dim: int, hidden: int, *, seeds: Sequence[int], dtype: torch.dtype = torch.float32):
        super().__init__()
        self.net = SeedNet(2 * dim, hidden, dim, seeds=seeds, dtype=dtype)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return torch.cat((x[..., x.shape[-1] // 2 :], self.net(x)), dim=-1)


class DampedHamiltonian(nn.Module):
    """q' = p, p' = -grad U(q) - c p: the energy p²/2 + U(q) is lost at the rate c p² and in no other way.

    x = (q, p), shape (..., seeds, 2 dim). U(q) = sum_i a_i log cosh(w_i q + b_i), whose gradient is
    W (a tanh(qW + b)); a, W, b and c = exp(log_friction) are learned. (Energies as nets differentiated automatically:
    Greydanus et al. 2019, arXiv 1906.01563; with friction: Zhong et al. 2020, arXiv 2002.08860.)
    """

    def __init__(
        self, dim: int, hidden: int, *, seeds: Sequence[int], friction: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if not friction > 0:
            raise ValueError(f"friction: its first value must be positive, got {friction!r}.")
        self.net = SeedNet(dim, hidden, 1, seeds=seeds, dtype=dtype)
        self.net.b2.requires_grad_(False)  # a constant in the energy
        self.log_friction = nn.Parameter(torch.full((len(seeds), 1), friction, dtype=dtype).log())

    @property
    def friction(self) -> Tensor:
        """c of each seed, (seeds, 1), 1/time."""
        return self.log_friction.exp()

    def _inside(self, q: Tensor) -> Tensor:
        return torch.baddbmm(self.net.b1, q.reshape(-1, *q.shape[-2:]).transpose(0, 1), self.net.w1)

    def energy(self, x: Tensor) -> Tensor:
        """p²/2 + U(q), shape (..., seeds)."""
        q, p = x.chunk(2, dim=-1)
        s = self._inside(q)
        potential = nn.functional.softplus(2 * s) - s  # log cosh s + log 2, without overflow
        return p.square().sum(-1) / 2 + torch.bmm(potential, self.net.w2).squeeze(-1).T.reshape(q.shape[:-1])

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        q, p = x.chunk(2, dim=-1)
        slope = self._inside(q).tanh() * self.net.w2.transpose(1, 2)
        force = torch.bmm(slope, self.net.w1.transpose(1, 2)).transpose(0, 1).reshape(q.shape)
        return torch.cat((p, -force - self.friction * p), dim=-1)


class PreyPredator(nn.Module):
    """Prey u and predators v with known linear parts and a net for what they do to each other, in logarithms.

    u' = alpha u - u s_1, v' = -gamma v + v s_2: of what predators take of the prey, and what prey gives the predators,
    it is only known that both are positive, s = softplus(net(z)). The Lotka–Volterra system has s_1 = beta v and
    s_2 = delta u. The state is z = (log (u, v) - mean) / scale, shape (..., seeds, 2), so that u and v stay positive.
    A universal differential equation in the sense of Rackauckas et al. (2020, arXiv 2001.04385).

    Parameters
    ----------
    mean, scale
        Of log (u, v), shape (2,) each.
    rates, learn_rates
        (alpha, gamma), 1/time; whether they are learned too, from these first values.
    """

    def __init__(
        self, mean: Tensor, scale: Tensor, hidden: int, *, rates: tuple[float, float], learn_rates: bool = False,
        seeds: Sequence[int], dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if min(rates) <= 0:
            raise ValueError(f"rates: alpha and gamma must be positive, got {tuple(rates)}.")
        self.net = SeedNet(2, hidden, 2, seeds=seeds, dtype=dtype)
        constants = {"mean": mean, "scale": scale, "sign": torch.tensor([-1.0, 1.0])}
        for name, value in constants.items():
            self.register_buffer(name, value.detach().to(dtype))
        first = torch.tensor(rates, dtype=dtype).log().expand(len(seeds), 2)
        self.log_rates = nn.Parameter(first.clone(), requires_grad=learn_rates)

    def per_head(self, z: Tensor) -> Tensor:
        """(s_1, s_2) at z, shape (..., seeds, 2), 1/time."""
        return nn.functional.softplus(self.net(z))

    def interaction(self, x: Tensor) -> Tensor:
        """(u s_1, v s_2) at x = (u, v), shape (..., seeds, 2): beside beta u v and delta u v."""
        return x * self.per_head((x.log() - self.mean) / self.scale)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.sign * (self.per_head(z) - self.log_rates.exp()) / self.scale
