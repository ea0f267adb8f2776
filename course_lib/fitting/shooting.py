"""Neural fields fitted to trajectories by multiple shooting, all segments integrated as one batch.

The method (Bock and Plitt 1984) cuts the time into segments, gives each a start of its own, and asks that the segments
join. Here the joining is a penalty, and the descent is Adam's; ``fit_trajectory`` has Gauss–Newton steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.integrators.explicit import Field, Method

from .descent import Descent, descend
from .segments import Segments, cut, prepare, shoot
from .weights import Weights


class TrajectoryFit(NamedTuple):
    """What a fit of fields to a trajectory gives; for a single model without the seed axis, numbers for (seeds,).

    rollout: (seeds,) mean squared error over all times of the solution that starts at x0, the least one measured, whose
    weights the models now hold; arrived: (seeds,) whether it met the target; epoch: (seeds,) when it was measured.
    x0: (seeds, \\*state) where the rollout starts. starts: (seeds, segments, \\*state) the shooting states.
    losses: (epochs, seeds) training loss, NaN once a seed has stopped; checks, rollouts: (k,) and (k, seeds) epochs and
    values of the rollouts measured. failed: (seeds,) epoch at which loss or gradient stopped being finite, or -1.
    seconds: time for all; nfe: evaluations of the field in training, each for all segments and seeds at once.
    """

    rollout: Tensor | float
    arrived: Tensor | bool
    epoch: Tensor | int
    x0: Tensor
    starts: Tensor
    losses: Tensor
    checks: Tensor
    rollouts: Tensor
    failed: Tensor | int
    seconds: float
    nfe: int


def collect(found: Descent, starts: Tensor, *, target: float | None, nfe: int, alone: bool) -> TrajectoryFit:
    """A Descent, (seeds, segments, \\*state) starts, as the TrajectoryFit of one model or of seeds."""
    arrived = torch.isfinite(found.rollout) if target is None else found.rollout <= target
    fit = TrajectoryFit(
        found.rollout, arrived, found.best, starts[:, 0], starts, found.losses, found.checks, found.rollouts,
        found.failed, found.seconds, nfe * len(found.losses),
    )  # fmt: skip
    if not alone:
        return fit
    return fit._replace(
        rollout=fit.rollout.item(), arrived=bool(arrived), epoch=int(found.best), failed=int(found.failed),
        x0=fit.x0[0], starts=starts[0], losses=fit.losses[:, 0], rollouts=fit.rollouts[:, 0],
    )  # fmt: skip


def multiple_shooting(
    models: nn.Module | Sequence[nn.Module], t: Tensor, data: Tensor, *, epochs: int, lr: float, group: int = 3,
    continuity: float = 1.0, starts: str = "free", guess: Tensor | None = None,
    observe: Callable[[Tensor], Tensor] | None = None, method: str = "rk4", steps: int = 1,
    schedule: Callable[[float], float] | None = None, clip: float | None = None, target: float | None = None,
    every: int = 20, traced: bool | None = None, penalty: Callable[[nn.Module], Tensor] | None = None,
) -> TrajectoryFit:
    """Fit fields f(t, x) so that their solutions pass through the data, one short segment at a time.

    The loss is the mean squared misfit of all segments, plus `continuity` times the mean squared jump between the end
    of one segment and the start of the next. The models are changed in place: they hold the weights with the
    least rollout error, over *all* times, among those measured.

    ::

        fit = multiple_shooting(MLPField(2, 32, seed=0), t, data, epochs=2000, lr=0.01, group=4, target=1e-2)
        fits = multiple_shooting([MLPField(2, 32, seed=s) for s in range(10)], t, data, epochs=2000, lr=0.01)

    Parameters
    ----------
    models
        A module f(t, x), or a NeuralODE, of which the field is trained; or a sequence, one a seed, alike but for their
        weights: they train together, each as it would alone.
    t, data
        Times, shape (n,), uneven if need be; the trajectory, shape (n, \\*batch, d). The field meets x of shape
        (segments, \\*batch, d) and t of shape (segments, 1, ..., 1).
    epochs, lr, schedule, clip
        Steps of Adam; their size, times schedule(share done) if given (``course_lib.train.cosine``); the largest norm
        of a seed's gradient.
    group
        Gaps between data in a segment.
    continuity
        Weight of the jumps.
    starts
        "free": the segments' starts are unknowns beside the weights, begun at the data, so that noise in the data is
        not taken for the state; "data": they stay at the data.
    guess, observe
        If the data do not show the whole state: observe(x) is what they show of states x, (..., d_state) to (..., d),
        and guess, shape (n, \\*batch, d_state), a first estimate of the states.
    method, steps
        Fixed-step method by name; equal steps between neighbouring times.
    target, every
        A seed stops at the first rollout with mean squared error of at most `target`; rollouts are measured every
        `every` epochs.
    traced
        Whether to run the step as a list of tensor operations traced once; None: where that pays (many epochs).
    penalty
        A function of the field, added to the training loss, as weight decay is. No part of the rollouts measured.

    Returns
    -------
    TrajectoryFit
        Look at ``arrived``, ``rollout`` and ``failed``.

    Raises
    ------
    NonFiniteLoss
        No seed ever had a finite rollout.
    ValueError, TypeError
        One line that names the argument.
    """
    weights = Weights(models)
    t, data, rule = prepare(t, data, method, steps, dtype=weights.dtype)
    if starts not in ("free", "data"):
        raise ValueError(f"starts: expected 'free' or 'data', got {starts!r}.")
    if observe is not None and (guess is None or starts == "data"):
        raise ValueError("observe: states that the data do not show need guess=..., and starts='free'.")
    states = data if guess is None else guess.detach().to(data)
    if len(states) != len(data):
        raise ValueError(f"guess: has {len(states)} rows for {len(t)} times; give one row a time.")
    pieces, whole, p = cut(t, group), cut(t, None), weights.matrix()
    first = states[pieces.first]
    free = starts == "free"
    if free:
        p = torch.cat((p, first.reshape(1, -1).expand(len(p), -1)), 1)

    def split(p: Tensor) -> tuple[Tensor, Tensor]:
        return p[: weights.size], (p[weights.size :].view(first.shape) if free else first)

    def loss(p: Tensor) -> Tensor:
        p, x = split(p)
        return weights.run(p, penalised(shooting_loss, penalty), x, data, pieces, rule, steps, continuity, observe)

    def rollout(p: Tensor) -> Tensor:
        p, x = split(p)
        return weights.run(p, rollout_loss, x[:1], data, whole, rule, steps, observe)

    found = descend(
        loss, rollout, p, epochs=epochs, lr=lr, schedule=schedule, clip=clip, target=target, every=every, traced=traced
    )
    weights.write(found.p[:, : weights.size])
    ends = torch.stack([split(row)[1] for row in found.p])
    nfe = rule.stages * steps * pieces.t.shape[1]
    return collect(found, ends, target=target, nfe=nfe, alone=weights.alone)


def penalised(loss: Callable[..., Tensor], penalty: Callable[[nn.Module], Tensor] | None) -> Callable[..., Tensor]:
    """loss(field, ...) plus penalty(field), if there is one."""
    return loss if penalty is None else lambda f, *args: loss(f, *args) + penalty(f)


def shooting_loss(
    f: Field, x: Tensor, data: Tensor, pieces: Segments, rule: Method, steps: int, continuity: float,
    observe: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Mean squared misfit of the segments from x, (segments, ...), their starts included, plus the jumps' penalty."""
    seen, ends = shoot(f, x, pieces, rule, steps, observe)
    at_start = (x if observe is None else observe(x)) - data[pieces.first]
    misfit = (seen - data[1:]).square().sum() + at_start.square().sum()
    value = misfit / (seen.numel() + at_start.numel())
    return value if len(x) == 1 else value + continuity * (ends[:-1] - x[1:]).square().mean()


def rollout_loss(
    f: Field, x0: Tensor, data: Tensor, whole: Segments, rule: Method, steps: int,
    observe: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Mean squared error over all times of the one solution from x0, shape (1, \\*state), x0 itself included."""
    seen, _ = shoot(f, x0, whole, rule, steps, observe)
    at_start = (x0 if observe is None else observe(x0)) - data[:1]
    return ((seen - data[1:]).square().sum() + at_start.square().sum()) / data.numel()
