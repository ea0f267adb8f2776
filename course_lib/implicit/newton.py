"""Newton's method, damped: with a dense Jacobian, or matrix-free with a Krylov solver inside."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from .convergence import require_finite
from .equation import Equation
from .iterations import Solution, relative
from .linear import gcr

HALVINGS = 12


def newton(equation: Equation, y: Tensor, *, tol: float, max_iter: int, damped: bool = True) -> Solution:
    """Newton's method with the n × n Jacobian of every sample.

    Damped, a sample's step is halved until its residual falls (Armijo's rule on the norm): each sample then
    converges or stops at a point from which no shorter step helps. damped=False shows what happens without.
    """

    def direction(y: Tensor, r: Tensor, error: Tensor) -> Tensor:
        d = torch.linalg.solve_ex(equation.matrix(y), r.flatten(equation.sample_axes).unsqueeze(-1))[0]
        return d.view(y.shape)

    return _newton(equation, y, direction, "newton", tol=tol, max_iter=max_iter, damped=damped)


def newton_krylov(equation: Equation, y: Tensor, *, tol: float, max_iter: int, damped: bool = True) -> Solution:
    """Newton's method whose linear systems are solved by GCR with products J v alone: no matrix is formed.

    Each is solved only as well as the outer residual deserves (Eisenstat and Walker 1996, choice 2).
    """

    def direction(y: Tensor, r: Tensor, error: Tensor) -> Tensor:
        worst = error.max().item()
        forcing = max(0.3 * tol / worst, min(0.1, worst))
        return gcr(equation.product(y), r, tol=forcing, max_iter=40, sample_axes=equation.sample_axes)[0]

    return _newton(equation, y, direction, "newton_krylov", tol=tol, max_iter=max_iter, damped=damped)


def _newton(
    equation: Equation, y: Tensor, direction: Callable, name: str, *, tol: float, max_iter: int, damped: bool
) -> Solution:
    r = equation.residual(y)
    error, size = relative(equation, r, y), equation.norm(r)
    for k in count():
        worst = error.max().item()
        require_finite(worst, name, k, error, tol)
        if worst <= tol or k >= max_iter:
            return y, k, error
        d = direction(y, r, error)
        # A singular matrix gives no direction: take the fixed-point step there, and let the damping shorten it.
        d = torch.where(equation.like(torch.isfinite(equation.norm(d))), d, r)
        new = y + d
        r_new = equation.residual(new)
        if damped:
            new, r_new, moved = _shorten(equation, y, d, new, r_new, size, error <= tol)
            if not moved:
                return y, k, error
        y, r = new, r_new
        error, size = relative(equation, r, y), equation.norm(r)


def _shorten(equation: Equation, y: Tensor, d: Tensor, new: Tensor, r_new: Tensor, size: Tensor, done: Tensor):
    """Halve the step of the samples whose residual did not fall; those for which no step helps stay where they are."""
    step = torch.ones_like(size)
    for _ in range(HALVINGS):
        good = (equation.norm(r_new) <= (1 - 1e-4 * step) * size) | done
        if good.all():
            return new, r_new, True
        step = torch.where(good, step, step / 2)
        new = torch.addcmul(y, equation.like(step), d)
        r_new = equation.residual(new)
    good = (equation.norm(r_new) <= size) | done
    new = torch.where(equation.like(good), new, y)
    return new, equation.residual(new), bool((good & ~done).any())
