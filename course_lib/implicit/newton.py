"""Newton's method, damped: with a dense Jacobian, or matrix-free with a Krylov solver inside."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from .convergence import require_finite
from .equation import Equation
from .iterations import Solution
from .linear import gcr

HALVINGS = 40  # far out on a skew field the longest step that helps can be a millionth of Newton's


def newton(equation: Equation, y: Tensor, *, tol: float, max_iter: int, damped: bool = True) -> Solution:
    """Newton's method with the n × n Jacobian of every sample.

    Damped, a sample's step is halved until its residual falls (Armijo's rule on the norm): each sample then
    converges or stops where none of 40 halvings helped. damped=False shows what happens without.
    """

    def direction(y: Tensor, r: Tensor, worst: float) -> Tensor:
        d = torch.linalg.solve_ex(equation.matrix(y), r.flatten(equation.sample_axes).unsqueeze(-1))[0]
        return d.view(y.shape)

    return _newton(equation, y, direction, "newton", tol=tol, max_iter=max_iter, damped=damped)


def newton_krylov(equation: Equation, y: Tensor, *, tol: float, max_iter: int, damped: bool = True) -> Solution:
    """Newton's method whose linear systems are solved by GCR with products J v alone: no matrix is formed.

    Each is solved only as well as the outer residual deserves (Eisenstat and Walker 1996, choice 2).
    """

    def direction(y: Tensor, r: Tensor, worst: float) -> Tensor:
        forcing = max(0.3 * tol / worst, min(0.1, worst))
        return gcr(equation.product(y), r, tol=forcing, max_iter=40, sample_axes=equation.sample_axes)[0]

    return _newton(equation, y, direction, "newton_krylov", tol=tol, max_iter=max_iter, damped=damped)


def _newton(
    equation: Equation, y: Tensor, direction: Callable, name: str, *, tol: float, max_iter: int, damped: bool
) -> Solution:
    r = equation.residual(y)
    size = equation.norm(r)
    for k in count():
        error = size / (1 + equation.norm(y))
        worst = error.max().item()
        require_finite(worst, name, k, error, tol)
        if worst <= tol or k >= max_iter:
            return y, k, error
        d = direction(y, r, worst)
        new = y + d
        r_new = equation.residual(new)
        new_size = equation.norm(r_new)
        # Samples that are done may jitter by rounding: their residual need not fall.
        if damped and not (_fell(new_size, size) | (error <= tol)).all():
            new, r_new, new_size, moved = _shorten(equation, y, d, r, size, error <= tol)
            if not moved:
                return y, k, error
        y, r, size = new, r_new, new_size


def _fell(new_size: Tensor, size: Tensor, step: float | Tensor = 1.0) -> Tensor:
    """Armijo's condition on the norm of the residual, a bool a sample; false where it is not a number."""
    return new_size <= (1 - 1e-4 * step) * size


def _shorten(equation: Equation, y: Tensor, d: Tensor, r: Tensor, size: Tensor, done: Tensor):
    """Halve the step of the samples whose residual did not fall; those for which no step helps stay where they are.

    Samples that are done keep their full step. Returns (state, residual, its norm, did any other sample move?).
    """
    # A singular matrix gives no direction: take the fixed-point step there.
    d = torch.where(equation.like(torch.isfinite(equation.norm(d))), d, r)
    step = torch.ones_like(size)
    for _ in range(HALVINGS + 1):
        new = torch.addcmul(y, equation.like(step), d)
        r_new = equation.residual(new)
        new_size = equation.norm(r_new)
        good = _fell(new_size, size, step) | done
        if good.all():
            return new, r_new, new_size, True
        step = torch.where(good, step, step / 2)
    new = torch.where(equation.like(good), new, y)
    r_new = torch.where(equation.like(good), r_new, r)
    return new, r_new, torch.where(good, new_size, size), bool((good & ~done).any())
