"""Linear stability of one-step methods, computed from the methods themselves, and growth of perturbations in nets.

On x' = A x one step is a matrix, x <- M x, the amplification matrix; n steps are M^n. They stay bounded if the
spectral radius of M is below 1, grow if it is above, and if it equals 1 the Jordan blocks decide: a defective
eigenvalue of modulus 1 lets powers grow linearly (Hairer and Wanner, *Solving ODEs II* (1996), section IV.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .integrators import PARTITIONED, Partitioned
from .integrators.solve import find_method

# The kinds of eigenvalues of K in x' = K x: what they do to the plane is the subject of phase portraits.
TEST_MATRICES: dict[str, list[list[float]]] = {
    "positive": [[1.0, 0.5], [0.0, 0.5]],
    "negative": [[-1.0, 0.5], [0.0, -0.5]],
    "zero": [[0.0, 0.0], [0.0, 0.0]],
    "imaginary": [[0.0, 1.0], [-1.0, 0.0]],
    "nilpotent": [[0.0, 1.0], [0.0, 0.0]],  # both eigenvalues are zero, yet x moves
}


def matrix(kind: str, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """A matrix of ``TEST_MATRICES``, shape (2, 2); ValueError for another kind."""
    if kind not in TEST_MATRICES:
        raise ValueError(f"kind: {kind!r} is unknown; choose one of {', '.join(TEST_MATRICES)}.")
    return torch.tensor(TEST_MATRICES[kind], dtype=dtype)


def linear_field(A: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The field f(t, x) = A x on rows x, shape (..., d); A (d, d)."""
    return lambda t, x: x @ A.mT


def amplification_matrix(method: str, A: Tensor, h: float) -> Tensor:
    """M, shape (d, d), with x(t + h) = M x(t) for one step of the method on x' = A x: the step of every unit vector.

    Parameters
    ----------
    method
        Any name that ``solve`` knows.
    A
        Shape (d, d). A partitioned method needs zero diagonal blocks: y' = B z, z' = C y for the halves of x.
    h
        Step size, in the unit of time of A.

    Raises
    ------
    ValueError
        For an unknown method, a matrix that is not square, or blocks that a partitioned method cannot step.
    TypeError
        For a matrix of whole numbers.
    """
    rule = find_method(method)
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"A: expected a square matrix, got shape {tuple(A.shape)}.")
    if not (A.is_floating_point() or A.is_complex()):
        raise TypeError(f"A: dtype {A.dtype} cannot hold a step of size h; use A.double().")
    field = partition(A) if method in PARTITIONED else linear_field(A)
    t = torch.zeros((), dtype=A.dtype)
    return rule.step(field, t, torch.eye(len(A), dtype=A.dtype), h).mT


def partition(A: Tensor) -> Partitioned:
    """x' = A x as a partitioned system of its halves; ValueError unless both diagonal blocks are zero."""
    n = len(A) // 2
    if len(A) % 2 or A[:n, :n].any() or A[n:, n:].any():
        raise ValueError("A: a partitioned method needs the form [[0, B], [C, 0]] with blocks of equal size.")
    return Partitioned(linear_field(A[:n, n:]), linear_field(A[n:, :n]))


def spectral_radius(M: Tensor) -> Tensor:
    """Largest modulus of an eigenvalue: (..., d, d) to (...)."""
    return torch.linalg.eigvals(M).abs().amax(-1)


def orbit(M: Tensor, x0: Tensor, steps: int) -> Tensor:
    """x0, M x0, ..., M^steps x0, shape (steps + 1, ..., d), for rows x0 (..., d)."""
    path = [x0]
    for _ in range(steps):
        path.append(path[-1] @ M.mT)
    return torch.stack(path)


def stability_function(method: str, z: Tensor) -> Tensor:
    """R(z), the factor of one step on x' = λx with z = hλ: complex (...) to complex (...), in complex128.

    The complex number is stepped as a point of the plane, by the method as it is: no formula for R is used.
    Partitioned methods have no such factor, since they need two halves: see ``amplification_matrix``.
    """
    if method in PARTITIONED:
        raise ValueError(f"method: {method!r} steps two halves and has no R(z); use amplification_matrix.")
    rule = find_method(method)
    z = z.to(torch.complex128)

    def times_z(t: Tensor, x: Tensor) -> Tensor:
        u, v = x.unbind(-1)
        return torch.stack((z.real * u - z.imag * v, z.imag * u + z.real * v), dim=-1)

    one = torch.zeros(*z.shape, 2, dtype=torch.float64)
    one[..., 0] = 1
    return torch.view_as_complex(rule.step(times_z, torch.zeros((), dtype=torch.float64), one, 1.0).contiguous())


def stability_region(method: str, re: Tensor, im: Tensor) -> Tensor:
    """Modulus of R(x + iy) on a grid, shape (len(im), len(re)); the region of stability is where it is at most 1."""
    y, x = torch.meshgrid(im.double(), re.double(), indexing="ij")
    return stability_function(method, torch.complex(x, y)).abs()


def perturbation_growth(
    states: Callable[[Tensor], Tensor | Sequence[Tensor]],
    x: Tensor,
    *,
    size: float = 1e-3,
    directions: int = 16,
    seed: int,
) -> Tensor:
    """Largest growth of a small change of the input over random directions: ‖Δstate‖ / ‖Δx‖.

    Parameters
    ----------
    states
        A network, or a function that returns the list of a network's states, layer by layer; rows (batch, ...).
    x
        Inputs, shape (batch, ...).
    size
        Norm of the change, in the units of x; use float64 for sizes below 1e-3.
    directions, seed
        Number of random directions at each input, and the seed that draws them.

    Returns
    -------
    Tensor
        Shape (batch,), or (layers, batch) if ``states`` returns a list.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        base, rows = states(x), []
        for _ in range(directions):
            v = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
            v = v * (size / v.flatten(1).norm(dim=1)).reshape(-1, *[1] * (x.ndim - 1))
            moved = states(x + v)
            pairs = [(base, moved)] if isinstance(base, Tensor) else zip(base, moved, strict=True)
            rows.append(torch.stack([(b - a).flatten(1).norm(dim=1) / size for a, b in pairs]))
        largest = torch.stack(rows).amax(0)
    return largest[0] if isinstance(base, Tensor) else largest


def jacobian_norm(net: nn.Module | Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Spectral norm of d net / dx at each input, (batch, n) to (batch,): the growth in the worst direction."""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: net(row[None])[0]))(x)
    return torch.linalg.matrix_norm(jacobian, ord=2).detach()
