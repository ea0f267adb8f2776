"""The equation y = c + aF(y) that every implicit layer solves, and what a solver may ask of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Equation:
    """y = c + a F(y), for a batch of independent samples.

    F            maps states (samples..., state...) to the same shape, each sample for itself (no batch norm)
    c            right-hand side, of the states' shape
    a            a 0-d tensor, or one that broadcasts against c (θh of the layer)
    sample_axes  leading axes that count samples: 1 for (batch, ...), 2 for (runs, batch, ...)
    jacobian     (y, F(y)) -> dF/dy, shape (samples..., n, n), where F knows it in closed form; else autograd finds it
    vjp          (y, F(y)) -> (v -> (dF/dy)ᵀ v), where F knows it in closed form; else autograd finds that too
    """

    def __init__(self, F: Callable[[Tensor], Tensor], c: Tensor, a: Tensor, *, sample_axes: int = 1,
                 jacobian: Callable[[Tensor, Tensor], Tensor] | None = None,
                 vjp: Callable[[Tensor, Tensor], Callable] | None = None):
        self.F, self.c, self.a, self.sample_axes, self._jacobian, self._vjp = F, c, a, sample_axes, jacobian, vjp
        self.evaluations = 0
        self._last: tuple[Tensor, Tensor] | None = None
        self.width = c[(0,) * sample_axes].numel()

    def residual(self, y: Tensor) -> Tensor:
        """c + aF(y) - y: zero at the solution, and the step of a fixed-point iteration."""
        self.evaluations += 1
        Fy = self.F(y)
        if Fy.shape != y.shape:  # broadcasting would solve another equation
            raise ValueError(f"F: made {tuple(Fy.shape)} from {tuple(y.shape)}; it must keep the shape.")
        self._last = y, Fy
        return torch.addcmul(self.c, self.a, Fy) - y

    def value(self, y: Tensor) -> Tensor:
        """F(y), which is at hand if y is where the residual was taken last."""
        if self._last is not None and self._last[0] is y:
            return self._last[1]
        self.evaluations += 1
        return self.F(y)

    def norm(self, v: Tensor) -> Tensor:
        """Euclidean norm of every sample, shape (samples...)."""
        return torch.linalg.vector_norm(v.flatten(self.sample_axes), dim=-1)

    def like(self, s: Tensor) -> Tensor:
        """A number a sample, (samples...), made to broadcast against states."""
        return s.view(*s.shape, *[1] * (self.c.ndim - s.ndim))

    def matrix(self, y: Tensor, Fy: Tensor | None = None) -> Tensor:
        """I - a dF/dy at y, shape (samples..., n, n); Fy is F(y), if it is known."""
        n = self.width
        self.evaluations += 1 if self._jacobian else 1 + n
        if self._jacobian:
            J = self._jacobian(y, self.value(y) if Fy is None else Fy)
        else:
            J = autograd_jacobian(self.F, y, self.sample_axes)
        a = self.a if self.a.ndim == 0 else self.a.expand(y.shape).flatten(self.sample_axes).unsqueeze(-1)
        A = J * -a
        A.diagonal(dim1=-2, dim2=-1).add_(1)
        return A

    def product(self, y: Tensor) -> Callable[[Tensor], Tensor]:
        """v -> (I - a dF/dy) v at y, by forward differentiation: no matrix."""

        def times(v: Tensor) -> Tensor:
            self.evaluations += 1
            return v - self.a * torch.func.jvp(self.F, (y,), (v,))[1]

        return times

    def transposed(self, y: Tensor, Fy: Tensor) -> Callable[[Tensor], Tensor]:
        """v -> (a dF/dy)ᵀ v: in closed form, or by reverse differentiation through Fy = F(y) and its graph."""
        closed = self._vjp(y.detach(), Fy.detach()) if self._vjp else None

        def times(v: Tensor) -> Tensor:
            self.evaluations += 1
            if closed:
                return closed(self.a * v)
            return torch.autograd.grad(Fy, y, self.a * v, retain_graph=True)[0]

        return times


def autograd_jacobian(F: Callable[[Tensor], Tensor], y: Tensor, sample_axes: int) -> Tensor:
    """dF/dy of every sample, shape (samples..., n, n): one vector–Jacobian product a row, all of them batched."""
    samples, n = y.shape[:sample_axes], y[(0,) * sample_axes].numel()
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        Fy = F(y)
    if not Fy.requires_grad:  # F ignores its input
        return y.new_zeros(*samples, n, n)
    rows = torch.eye(n, dtype=y.dtype, device=y.device).view(n, *[1] * sample_axes, *y.shape[sample_axes:])
    J = torch.autograd.grad(Fy, y, rows.expand(n, *y.shape), is_grads_batched=True)[0]
    return J.reshape(n, *samples, n).movedim(0, -2)


def lipschitz(equation: Equation, y: Tensor, *, iterations: int = 12, seed: int = 0) -> float:
    """A lower bound of the Lipschitz constant of y -> aF(y): the largest ‖aJv‖/‖v‖ met in a power iteration at y.

    For a normal Jacobian, a skew one for instance, it tends to the spectral norm.
    """
    v = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(seed)).to(y.device)
    best = 0.0
    equation.evaluations += iterations
    for _ in range(iterations):
        v = v / equation.like(equation.norm(v)).clamp(min=torch.finfo(y.dtype).tiny)
        v = equation.a * torch.func.jvp(equation.F, (y,), (v,))[1]
        best = max(best, equation.norm(v).max().item())
    return best
