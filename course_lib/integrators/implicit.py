"""Implicit one-step methods: backward_euler, trapezoid.

Both solve y = x + h (1 - theta) f(t, x) + h theta f(t + h, y) for the new state y, with theta = 1 and theta = 1/2
(Hairer, Nørsett and Wanner, *Solving Ordinary Differential Equations I* (1993), section II.7).
Newton's method finds y: for a field linear in x its first step is already exact.

States have shape (..., d): the field may couple the entries of the last axis, and rows are solved by themselves.
Gradients come from the implicit function theorem, not from the iterations, so that they are as exact as y is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .explicit import Field, Method

ITERATIONS = 50


class NewtonFailed(ArithmeticError):
    """Newton's method found no solution of an implicit step; the message gives h and what is left of the residual."""


def backward_euler(f: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """Backward Euler, order 1: a step whose slope is the one at its end. Damps every frequency, whatever h is."""
    return implicit_step(f, t, x, h, x, 1.0)


def trapezoid(f: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """The trapezoidal rule, order 2: average the slopes at both ends. Symmetric: a step of -h undoes one of h."""
    return implicit_step(f, t, x, h, x + h / 2 * f(t, x), 0.5)


def implicit_step(f: Field, t: Tensor, x: Tensor, h: Tensor, known: Tensor, theta: float) -> Tensor:
    """Solve y = known + theta h f(t + h, y) for y, shape (..., d), starting from x.

    Raises
    ------
    NewtonFailed
        If the residual does not come down to rounding, because h is too large or f couples rows of the batch.
    """
    if x.ndim == 0:
        return implicit_step(lambda t, y: f(t, y[0])[None], t, x[None], h, known[None], theta)[0]
    c, end = theta * h, t + h

    def residual(y: Tensor) -> Tensor:
        return y - known - c * f(end, y)

    with torch.no_grad():
        y, floor = x.detach(), 64 * torch.finfo(x.dtype).eps
        for _ in range(ITERATIONS):
            matrix = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) - c * jacobian(f, end, y)
            try:
                y = y - solve_rows(matrix, residual(y))
            except torch.linalg.LinAlgError:
                raise NewtonFailed(
                    f"h: the implicit step of size {float(h):.3g} has no unique solution: I - {theta:g}hJ is singular, "
                    "J the field's Jacobian; take another h."
                ) from None
            # The residual rounds at the size of its terms, which may be far larger than their difference.
            size = 1 + y.abs().max() + (c * f(end, y)).abs().max()
            left = residual(y).abs().max()
            if left <= floor * size:
                break
        else:
            raise NewtonFailed(
                f"h: the implicit step of size {float(h):.3g} was not solved in {ITERATIONS} Newton iterations "
                f"(residual {float(left):.1e}); take a smaller h, and see that f treats each row by itself."
            )
    # One more step on the solution: its value changes by rounding alone, its derivative is the implicit function's.
    return y - solve_rows(matrix.detach(), residual(y)) if torch.is_grad_enabled() else y


def solve_rows(matrix: Tensor, r: Tensor) -> Tensor:
    """Solve matrix · v = r in every row: (..., d, d) and (..., d) to (..., d)."""
    return torch.linalg.solve(matrix, r.unsqueeze(-1)).squeeze(-1)


def jacobian(f: Field, t: Tensor, x: Tensor) -> Tensor:
    """Jacobian of f in x, one matrix a row: (..., d) to (..., d, d), by d products with unit vectors."""
    columns = []
    for k in range(x.shape[-1]):
        unit = torch.zeros_like(x)
        unit[..., k] = 1
        columns.append(torch.func.jvp(lambda y: f(t, y), (x,), (unit,))[1])
    return torch.stack(columns, dim=-1)


IMPLICIT: dict[str, Method] = {
    "backward_euler": Method(backward_euler, order=1, stages=1),
    "trapezoid": Method(trapezoid, order=2, stages=2),
}
