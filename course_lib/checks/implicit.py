"""Checks on implicit layers: does a state solve the layer's equation, at what cost, and does a step lead back?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .compare import answer, show
from .score import CheckFailed


class SkewTanh:
    """The field F(y) = tanh(Ay + b) with a skew matrix A of spectral norm ``size``; states (batch, width), float64.

    Every θ-layer with this field has exactly one solution. ``calls`` counts the evaluations, of the Jacobian too;
    ``seen`` keeps their states, rows (n, width), once it is set to a list.
    """

    def __init__(self, width: int, size: float, *, seed: int = 0):
        draw = torch.Generator().manual_seed(seed)
        K = torch.randn(width, width, dtype=torch.float64, generator=draw)
        A = K - K.T
        self.A = A * (size / torch.linalg.matrix_norm(A, 2))
        self.b = torch.randn(width, dtype=torch.float64, generator=draw)
        self.calls = 0
        self.seen: list[Tensor] | None = None

    def note(self, y: Tensor) -> None:
        """Count an evaluation at y."""
        self.calls += 1
        if self.seen is not None:
            self.seen.append(y.detach().reshape(-1, len(self.A)).clone())

    def __call__(self, y: Tensor) -> Tensor:
        self.note(y)
        return torch.tanh(y @ self.A.T + self.b)

    def jacobian(self, y: Tensor) -> Tensor:
        """dF/dy of every sample, (batch, width, width)."""
        self.note(y)
        slope = 1 - torch.tanh(y @ self.A.T + self.b) ** 2
        return slope.unsqueeze(-1) * self.A


def states(batch: int, width: int, *, seed: int = 1) -> Tensor:
    """States to start from, (batch, width), float64, the same in every run."""
    return torch.randn(batch, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def solves(
    y: object, F: Callable[[Tensor], Tensor], x: Tensor, h: float, theta: float, *, what: str, tol: float = 1e-8
) -> None:
    """Check that y solves y = x + (1-θ)hF(x) + θhF(y), sample by sample, to tol relative to 1 + the norm of y.

    Raises
    ------
    CheckFailed
        With the largest residual, in how many samples, and the near relative of the equation that y solves instead.
    """
    y = answer(y, what=what, shape=x.shape)
    size = _residual(y, F, x, h, theta)
    bad = int((size > tol).sum())
    if bad:
        found = f"{what}: the equation is missed by {size.max().item():.2g} in {bad} of {len(y)} samples"
        raise CheckFailed(f"{found} (allowed: {tol:g}).{_relative_solved(y, F, x, h, theta, tol)}")
    print(f"holds: {what}, residual {size.max().item():.1g}")


def _residual(y: Tensor, F: Callable, x: Tensor, h: float, theta: float) -> Tensor:
    gap = x + (1 - theta) * h * F(x) + theta * h * F(y) - y
    return gap.norm(dim=-1) / (1 + y.norm(dim=-1))


def _relative_solved(y: Tensor, F: Callable, x: Tensor, h: float, theta: float, tol: float) -> str:
    """The well-known slip whose equation y does solve, as a sentence; else nothing."""
    slips = {
        "That is the explicit step x + hF(x): the slope at the end of the step is not used.": (h, 0.0),
        "θ and 1 - θ have changed places.": (h, 1 - theta),
        "That is backward Euler: all of the slope is taken at the end.": (h, 1.0),
        "The step is taken with -h.": (-h, theta),
        "The step size h is left out.": (1.0, theta),
    }
    for text, (other_h, other_theta) in slips.items():
        if bool((_residual(y, F, x, other_h, other_theta) <= max(tol, 1e-7)).all()):
            return f" {text}"
    return ""


def round_trip(step: Callable[..., Tensor], back: Callable[..., Tensor], F: Callable, x: Tensor, h: float, *,
               what: str, tol: float = 1e-8) -> None:
    """Check that back(F, step(F, x, h), h) is x again, to tol."""
    y = step(F, x, h)
    found = answer(back(F, y, h), what=what, shape=x.shape)
    gap = (found - x).abs().max().item()
    if gap > tol:
        explicit = (found - (y - h * F(y))).abs().max().item() <= tol
        hint = " That is an explicit step back, y - hF(y); the layer took half of its slope at x." if explicit else ""
        again = (found - step(F, y, h)).abs().max().item() <= tol
        hint = " That is one more step forward." if again else hint
        raise CheckFailed(f"{what}: expected {show(x)}, got {show(found)}, off by {gap:.2g}.{hint}")
    print(f"holds: {what}, off by {gap:.1g}")


def separate(
    solve: Callable[..., object], F: SkewTanh, x: Tensor, h: float, theta: float, *, what: str, first: int = 12
) -> None:
    """Check that a sample of a batch takes the path that it takes alone: solve(F, x, h, theta) treats rows apart.

    Compared are the first states at which F or its Jacobian is evaluated, since later ones carry rounding.
    """
    paths = []
    for rows in (x, *x.split(1)):
        F.seen = []
        solve(F, rows, h, theta)
        if not F.seen:
            raise CheckFailed(f"{what}: your code evaluates neither F nor F.jacobian.")
        paths.append(torch.cat(F.seen))
    F.seen = None
    together, *alone = paths
    turned = sum(bool((torch.cdist(path[:first], together).amin(1) > 1e-6).any()) for path in alone)
    if turned:
        raise CheckFailed(
            f"{what}: {turned} of {len(x)} samples take another path in the batch than alone; is the damping one "
            "number a sample, by its own residual?"
        )
    print(f"holds: {what}: every sample takes the path that it takes alone")
