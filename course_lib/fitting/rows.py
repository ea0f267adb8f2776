"""Levenberg–Marquardt for several problems at once: the core of every least-squares fit here.

Starts of one problem, seeds of one net, resampled data: each row has steps and a damping of its own, and all that still
search are evaluated together, since the time of small problems goes by the number of operations, not by their size.
The steps are those of ``course_lib.train.lm``; the damping follows the gain ratio (Nielsen 1999).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.integrators.errors import SolveError
from course_lib.train.lm import Linearised, lowered

Rows = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
ORTHOGONAL = "the residuals are orthogonal to the columns of the Jacobian"
NEGLIGIBLE = "the step is negligible"
TARGET = "the target is met"
SLOW = "the cost hardly falls any more"


@dataclass(frozen=True)
class Fit:
    """Where Levenberg–Marquardt stopped. p: (n,); residuals: (m,); jacobian: (m, n); costs: ‖r‖² after each step."""

    p: Tensor
    residuals: Tensor
    jacobian: Tensor
    costs: tuple[float, ...]
    solves: int
    failed_solves: int
    converged: bool
    message: str

    @property
    def cost(self) -> float:
        """The sum of squared residuals."""
        return self.costs[-1]

    @property
    def rmse(self) -> float:
        """Root mean square of the residuals."""
        return self.residuals.square().mean().sqrt().item()

    @property
    def covariance(self) -> Tensor:
        """s² (JᵀJ)⁻¹ with s² = ‖r‖² / (m - n), shape (n, n). JᵀJ is the Gauss–Newton Hessian of ‖r‖²/2."""
        m, n = self.jacobian.shape
        if m <= n:
            raise ValueError(f"covariance: {m} residuals leave no degree of freedom for {n} parameters.")
        _, r = torch.linalg.qr(self.jacobian)
        if r.diagonal().abs().min() < 1e-10 * r.diagonal().abs().max():
            raise ValueError("covariance: the data do not determine every parameter (JᵀJ is singular).")
        half = torch.linalg.inv(r)
        return self.cost / (m - n) * half @ half.T

    @property
    def standard_errors(self) -> Tensor:
        """Square roots of the covariance's diagonal, shape (n,)."""
        return self.covariance.diagonal().sqrt()


@torch.no_grad()
def levenberg_marquardt_rows(
    problems: Rows, p0: Tensor, *, max_solves: int = 100, gtol: float = 1e-5, xtol: float = 1e-6, ftol: float = 0.0,
    target: float | None = None, damping: float = 0.1, floor: float = 0.0,
) -> list[Fit | SolveError]:
    """Minimise the ‖r(p)‖² of several problems alike.

    Parameters
    ----------
    problems
        (p, rows) -> (r, J) of shapes (k, m) and (k, m, n), for p of shape (k, n): the values of the problems whose
        numbers are in rows, (k,). Where one has no solution its r is not finite.
    p0
        Starts, shape (problems, n).
    max_solves, gtol, xtol, damping
        As in ``levenberg_marquardt``.
    ftol, target
        Stop also where a step lowers the cost by less than ftol times the cost, or the cost is at most `target`.
    floor
        See ``course_lib.train.lm``: 0 for parameters with a meaning, 1 for a net's weights.

    Returns
    -------
    list
        For each start its ``Fit``, or a ``SolveError`` if it could not even begin.
    """
    for name, value in {"gtol": gtol, "xtol": xtol, "damping": damping}.items():
        if not value > 0:
            raise ValueError(f"{name}: must be positive, got {value!r}; without it the search never ends.")
    p, count = p0.detach().clone(), len(p0)
    lam, grow = p.new_full((count,), damping), p.new_full((count,), 2.0)
    r, J = (v.clone() for v in problems(p, torch.arange(count)))
    cost = r.square().sum(1) + 0 * J.sum((1, 2))
    begun = torch.isfinite(cost)
    ended: list[str | None] = [None] * count
    solves, failed, costs = [1] * count, [0] * count, [[c] for c in cost.tolist()]

    def end(rows: Tensor, which: Tensor, message: str) -> None:
        for i in rows[which].tolist():
            ended[i] = ended[i] or message

    def searching() -> Tensor:
        return torch.tensor([i for i in range(count) if begun[i] and ended[i] is None], dtype=torch.long)

    if target is not None:
        end(torch.arange(count), cost <= target, TARGET)
    while len(rows := searching()):
        norms = J[rows].norm(dim=1).clamp_min(torch.finfo(p.dtype).tiny)
        slope = (J[rows].mT @ r[rows].unsqueeze(2)).squeeze(2)
        end(rows, (slope / norms).abs().amax(1) <= gtol * r[rows].norm(dim=1), ORTHOGONAL)
        step, promised = Linearised(r[rows], J[rows], floor=floor).step(lam[rows])
        # Each parameter by itself: one that runs off to -1e5 must not make the others' steps look small.
        end(rows, (step.abs() <= xtol * (xtol + p[rows].abs())).all(1), NEGLIGIBLE)
        going = torch.tensor([ended[i] is None for i in rows.tolist()])
        rows, step, promised = rows[going], step[going], promised[going]
        if not len(rows) or solves[rows[0]] == max_solves:  # all that still search have had as many
            break
        r_new, J_new = problems(p[rows] + step, rows)
        new = r_new.square().sum(1) + 0 * J_new.sum((1, 2))  # not finite where a derivative is not
        gain = ((cost[rows] - new) / promised).nan_to_num(-1.0, -1.0, -1.0)
        taken = gain > 0
        won, lost = rows[taken], rows[~taken]
        slow = cost[won] - new[taken] < ftol * cost[won]
        p[won], r[won], J[won], cost[won] = p[won] + step[taken], r_new[taken], J_new[taken], new[taken]
        lam[won], grow[won] = lowered(lam[won], gain[taken]), 2.0
        lam[lost], grow[lost] = lam[lost] * grow[lost], grow[lost] * 2
        for i, finite in zip(rows.tolist(), torch.isfinite(new).tolist(), strict=True):
            solves[i], failed[i] = solves[i] + 1, failed[i] + (not finite)
        for i in won.tolist():
            costs[i].append(cost[i].item())
        end(won, slow, SLOW)
        if target is not None:
            end(won, cost[won] <= target, TARGET)
    return [
        Fit(p[i], r[i], J[i], tuple(costs[i]), solves[i], failed[i], ended[i] is not None,
            ended[i] or f"not converged after {solves[i]} solves")
        if begun[i] else SolveError("the residuals or their derivatives are not finite.")
        for i in range(count)
    ]  # fmt: skip
