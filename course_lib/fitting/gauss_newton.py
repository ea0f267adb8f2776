"""Neural fields fitted to trajectories by Levenberg–Marquardt, from short segments to the whole rollout.

Descent takes hundreds of small steps where Gauss–Newton takes ten. What it needs is a Jacobian by all weights, cheap
for nets of a few hundred of them (``linearised``), and a start from which the linear model means something. Short
segments, each begun at the data, make the problem nearly one of regression; longer ones, up to the rollout, then
correct what the noise and the spacing of the data did to it (Bock and Plitt 1984).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import vmap

from course_lib.integrators.errors import SolveError
from course_lib.integrators.explicit import Method
from course_lib.train.objective import NonFiniteLoss

from .descent import Descent
from .linearised import rollout_and_jacobian
from .rows import levenberg_marquardt_rows
from .segments import Segments, cut, prepare
from .shooting import TrajectoryFit, collect, rollout_loss
from .weights import Weights

SURE = 100.0  # how far below the target the misfit of short segments must be before it is worth a rollout


def fit_trajectory(
    models: nn.Module | Sequence[nn.Module], t: Tensor, data: Tensor, *,
    groups: Sequence[int | None] = (1, 5, 20, None), free_start: bool = False, ridge: float = 0.0, method: str = "rk4",
    steps: int = 1, target: float | None = None, max_solves: int = 40, ftol: float = 1e-2, damping: float = 0.1,
    floor: float = 1.0,
) -> TrajectoryFit:
    """Fit fields f(t, x) of up to some hundred weights to a trajectory by damped Gauss–Newton steps.

    For every number in `groups` in turn, segments of so many gaps are begun at the data and their mean squared misfit
    is minimised; None stands for the rollout over all times. Between the stages the rollout is measured.

    ::

        fit = fit_trajectory(MLPField(2, 32, depth=1, seed=0, dtype=torch.float64), t, data, target=1e-2)
        fits = fit_trajectory([MLPField(2, 32, depth=1, seed=s) for s in range(10)], t, data, target=1e-2)

    Parameters
    ----------
    models
        A module f(t, x), or a NeuralODE, of which the field is trained; or a sequence, one a seed, trained together.
        Best in float64. Rows of x must not interact.
    t, data
        Times, shape (n,); the trajectory, shape (n, \\*batch, d).
    groups
        Gaps a segment, stage by stage; a number above n - 1 means all of them.
    free_start
        Whether the start of the rollout is an unknown in the stages with a single segment.
    ridge
        Penalty: ridge times the sum of the squared weights. With noisy data it, or stopping early, keeps a net of more
        weights than data from following the noise.
    target
        A seed stops at the first rollout with mean squared error of at most `target`. Stages of several segments end
        where their misfit, which says less than the rollout's, is a hundredth of it.
    max_solves, ftol
        A stage ends after so many evaluations, or where a step lowers its cost by less than this share (not in a
        stage that is judged by the target itself).
    damping, floor
        See ``levenberg_marquardt_rows``.

    Returns
    -------
    TrajectoryFit
        `losses`: costs of every seed's steps through all stages, (steps, seeds), NaN where a seed took fewer. `checks`:
        the most evaluations used up to the rollouts measured; nfe: evaluations of the field in rollouts, each for all
        that still search. The weights kept are those with the least rollout among those measured.

    Raises
    ------
    NonFiniteLoss
        No seed ever had a finite rollout.
    ValueError, TypeError
        One line that names the argument.
    """
    weights, started = Weights(models), time.perf_counter()
    t, data, rule = prepare(t, data, method, steps, dtype=weights.dtype)
    if not groups:
        raise ValueError("groups: expected at least one number of gaps, or None.")
    p = torch.cat((weights.matrix(), data[:1].reshape(1, -1).expand(len(weights), -1)), 1)
    whole, size = cut(t, None), weights.size

    def rollout(row: Tensor) -> Tensor:
        return weights.run(row[:size], rollout_loss, row[size:].view(1, *data.shape[1:]), data, whole, rule, steps)

    def measure(p: Tensor) -> Tensor:
        with torch.no_grad():
            value = vmap(rollout)(p) if len(p) > 1 else rollout(p[0]).unsqueeze(0)
        return value.nan_to_num(nan=torch.inf, posinf=torch.inf)

    best = measure(p)
    kept, at, live = p.clone(), torch.zeros(len(p), dtype=torch.long), torch.arange(len(p))
    costs: list[list[float]] = [[] for _ in p]
    solves, checks, rollouts, nfe = 0, [0], [best], 0
    for group in groups:
        live = live[best[live] > target] if target is not None else live
        if not len(live):
            break
        pieces = cut(t, group)
        free = free_start and len(pieces.first) == 1
        problem = residuals(weights, data, pieces, rule, steps, ridge=ridge, free=free)
        unknown = p[live] if free else p[live, :size]
        options = {"max_solves": max_solves, "ftol": ftol, "damping": damping, "floor": floor}
        if target is not None and not ridge:
            options |= {"target": target, "ftol": 0.0} if len(pieces.first) == 1 else {"target": target / SURE}
        found = levenberg_marquardt_rows(problem, unknown, **options)
        for i, fit in zip(live.tolist(), found, strict=True):
            if not isinstance(fit, SolveError):
                p[i, : unknown.shape[1]] = fit.p
                costs[i] += fit.costs
        used = max((fit.solves for fit in found if not isinstance(fit, SolveError)), default=1)
        solves, nfe = solves + used, nfe + used * rule.stages * steps * pieces.t.shape[1]
        value = best.clone()
        value[live] = measure(p[live])
        better = value < best
        kept[better], best[better], at[better] = p[better], value[better], solves
        checks.append(solves)
        rollouts.append(value)
    if not torch.isfinite(best).any():
        raise NonFiniteLoss("every rollout", step=solves, lr=0.0)
    weights.write(kept[:, :size])
    longest = max(map(len, costs))
    losses = torch.tensor([c + [torch.nan] * (longest - len(c)) for c in costs], dtype=p.dtype).T
    failed = torch.where(torch.isfinite(best), -1, solves)
    seconds = time.perf_counter() - started
    found = Descent(kept, best, at, losses, torch.tensor(checks), torch.stack(rollouts), failed, seconds)
    fit = collect(found, kept[:, size:].view(-1, 1, *data.shape[1:]), target=target, nfe=1, alone=weights.alone)
    return fit._replace(nfe=nfe)


def residuals(
    weights: Weights, data: Tensor, pieces: Segments, rule: Method, steps: int, *, ridge: float, free: bool
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Segments begun at the data (with `free` the only one at an unknown start) as rows of least-squares problems.

    The sum of squares is the mean squared error over all entries of the data, plus ridge·‖weights‖².
    """
    size, first, rest = weights.size, data[pieces.first], data[1:]
    eye = torch.eye(size + data[0].numel() * free, dtype=data.dtype, device=data.device)
    share, d = data.numel() ** -0.5, data.shape[-1]

    def problem(p: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        k = len(p)
        x = p[:, size:].view(k, *first.shape) if free else first.expand(k, *first.shape)
        states, by_p, by_x = rollout_and_jacobian(weights, p[:, :size], x, pieces, rule, steps, free=free)
        r = [share * (states.flatten(1, 2)[:, : len(rest)] - rest).flatten(1)]
        J = [share * by_p.flatten(1, 2)[:, : len(rest)].reshape(k, -1, size)]
        if free:  # each row of the batch depends on its own start alone
            batch = torch.eye(first.numel() // d, dtype=p.dtype, device=p.device)
            along = torch.einsum("kgbij,bc->kgbicj", by_x.reshape(k, len(rest), -1, d, d), batch)
            J = [torch.cat((J[0], share * along.reshape(k, -1, first.numel())), 2)]
            r.append(share * (x - first).flatten(1))
            J.append((share * eye[size:]).expand(k, -1, -1))
        if ridge:
            r.append(ridge**0.5 * p[:, :size])
            J.append((ridge**0.5 * eye[:size]).expand(k, -1, -1))
        return torch.cat(r, 1), torch.cat(J, 1)

    return problem
