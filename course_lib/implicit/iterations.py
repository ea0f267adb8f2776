"""Solvers that need F alone: fixed-point iteration, Anderson's acceleration of it, and the paper's gradient descent.

Each takes an Equation and a first guess and returns (y, iterations, residuals); none keeps a graph. Convergence is
measured sample by sample: norm of c + aF(y) - y, over 1 + norm of y.
"""

from __future__ import annotations

from itertools import count

import torch
from torch import Tensor

from .convergence import require_finite
from .equation import Equation, lipschitz

Solution = tuple[Tensor, int, Tensor]


def relative(equation: Equation, r: Tensor, y: Tensor) -> Tensor:
    """Residual norm over 1 + norm of the state, one a sample."""
    return equation.norm(r) / (1 + equation.norm(y))


def fixed_point(equation: Equation, y: Tensor, *, tol: float, max_iter: int) -> Solution:
    """y <- c + aF(y): converges, at the rate of the Lipschitz constant of aF or faster, if that is below 1."""
    for k in count():
        r = equation.residual(y)
        error = relative(equation, r, y)
        worst = error.max().item()
        require_finite(worst, "fixed_point", k, error, tol)
        if worst <= tol or k >= max_iter:
            return y, k, error
        y = y + r


def anderson(equation: Equation, y: Tensor, *, tol: float, max_iter: int, memory: int = 5) -> Solution:
    """Anderson's mixing (Walker and Ni 2011, equation 2.1): the combination of the last steps whose residual is least.

    The least-squares problem of each sample is solved by its normal equations with a little ridge.
    """
    axes = equation.sample_axes
    dy: list[Tensor] = []
    dr: list[Tensor] = []
    y_old = r_old = y
    for k in count():
        r = equation.residual(y)
        error = relative(equation, r, y)
        worst = error.max().item()
        require_finite(worst, "anderson", k, error, tol)
        if worst <= tol or k >= max_iter:
            return y, k, error
        if k > 0:
            dy.append((y - y_old).flatten(axes))
            dr.append((r - r_old).flatten(axes))
            dy, dr = dy[-memory:], dr[-memory:]
        y_old, r_old = y, r
        y = y + r
        if dr:
            R = torch.stack(dr, -1)
            gram = R.mT @ R
            ridge = 10 * torch.finfo(y.dtype).eps * gram.diagonal(dim1=-2, dim2=-1).sum(-1)
            gram.diagonal(dim1=-2, dim2=-1).add_(ridge.unsqueeze(-1) + torch.finfo(y.dtype).tiny)
            weights = torch.linalg.solve_ex(gram, R.mT @ r.flatten(axes).unsqueeze(-1))[0]
            y = y - ((torch.stack(dy, -1) + R) @ weights).view(y.shape)


def gradient_descent(
    equation: Equation, y: Tensor, *, tol: float, max_iter: int, rate: float | None = None
) -> Solution:
    """y <- y - rate · gradient of ½‖y - c - aF(y)‖² (the paper's equation after 7).

    rate=None takes 1/(1 + Lip)², with Lip the Lipschitz constant at the first guess: it does not overshoot where that
    holds along the way. The authors' code took 20 steps of 1e-5.
    """
    if rate is None:
        rate = 1 / (1 + lipschitz(equation, y)) ** 2
    for k in count():
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            Fy = equation.F(y)
        equation.evaluations += 1
        r = equation.c + equation.a * Fy.detach() - y.detach()
        error = relative(equation, r, y.detach())
        worst = error.max().item()
        require_finite(worst, "gradient_descent", k, error, tol)
        if worst <= tol or k >= max_iter:
            return y.detach(), k, error
        y = y.detach() + rate * (r - equation.transposed(y, Fy)(r))
