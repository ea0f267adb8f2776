"""Linear solves of the backward pass and of Newton–Krylov: Neumann's series and GCR, for a batch of systems at once.

Each returns (solution, iterations, residuals), the residuals relative to the right-hand side, one a sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .convergence import require_finite

Product = Callable[[Tensor], Tensor]
Solution = tuple[Tensor, int, Tensor]


def _norm(v: Tensor, sample_axes: int) -> Tensor:
    return torch.linalg.vector_norm(v.flatten(sample_axes), dim=-1)


def _scale(b: Tensor, sample_axes: int) -> Tensor:
    """Norm of the right-hand side, 1 where that is 0."""
    size = _norm(b, sample_axes)
    return torch.where(size > 0, size, torch.ones_like(size))


def neumann(times: Product, b: Tensor, *, tol: float, max_iter: int, sample_axes: int = 1) -> Solution:
    """Solve u = b + Mu by the series b + Mb + M²b + ...; ``times`` is v -> Mv, contractive if this is to converge."""
    scale = _scale(b, sample_axes)
    u, term = b, b
    for k in range(1, max_iter + 1):
        term = times(term)
        error = _norm(term, sample_axes) / scale
        worst = error.max().item()
        require_finite(worst, "neumann", k, error, tol)
        u = u + term
        if worst <= tol:
            break
    return u, k, error


def gcr(times: Product, b: Tensor, *, tol: float, max_iter: int, sample_axes: int = 1) -> Solution:
    """Solve Au = b by generalised conjugate residuals (Eisenstat, Elman and Schultz 1983); ``times`` is v -> Av.

    The residual is the least over the Krylov space, as in GMRES; it falls in every step if A + Aᵀ is positive
    definite, as I - aJ is for a skew J. Where it stands still, the next direction is A times the last one.
    """
    shape, scale = b.shape, _scale(b, sample_axes)
    samples = (*shape[:sample_axes], 1)
    flat = b.reshape(*shape[:sample_axes], -1)
    tiny, eps = torch.finfo(b.dtype).tiny, torch.finfo(b.dtype).eps
    u, r, p = torch.zeros_like(flat), flat, flat
    # Directions p and their images q = Ap, the q orthonormal; a column each, allocated a few at a time.
    P = Q = flat.new_empty(*flat.shape, 0)
    for k in range(1, max_iter + 1):
        if k > P.shape[-1]:
            P, Q = (torch.cat((S, S.new_zeros(*flat.shape, 16)), -1) for S in (P, Q))
        q = times(p.view(shape)).reshape(flat.shape)
        before = torch.linalg.vector_norm(q, dim=-1)
        for _ in range(2 if k > 1 else 0):  # twice is enough for orthogonality to rounding
            along = Q[..., : k - 1].mT @ q.unsqueeze(-1)
            q = q - (Q[..., : k - 1] @ along).squeeze(-1)
            p = p - (P[..., : k - 1] @ along).squeeze(-1)
        # A direction of rounding errors alone, in a space that is used up, must not count.
        size = torch.linalg.vector_norm(q, dim=-1)
        inverse = torch.where(size > 100 * eps * before, 1 / size.clamp(min=tiny), 0.0).view(samples)
        q, p = q * inverse, p * inverse
        step = (q * r).sum(-1, keepdim=True)
        u, r = u + step * p, r - step * q
        error = torch.linalg.vector_norm(r, dim=-1) / scale
        worst = error.max().item()
        require_finite(worst, "gcr", k, error, tol)
        if worst <= tol:
            break
        P[..., k - 1], Q[..., k - 1] = p, q
        still = step.abs() <= 1e-3 * torch.linalg.vector_norm(r, dim=-1, keepdim=True)
        p = torch.where(still, q, r)
    return u.view(shape), k, error
