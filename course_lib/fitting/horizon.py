"""Neural fields fitted by rollouts: over the full horizon, or over windows that grow.

A rollout over many turns of an orbit has a loss whose best constant is a wide flat place: gradient descent finds the
mean of the data and stays there. A window that begins short and grows keeps the solution near the data all the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .descent import Descent, descend
from .segments import cut, prepare
from .shooting import TrajectoryFit, collect, penalised, rollout_loss
from .weights import Weights


def growing_horizon(
    models: nn.Module | Sequence[nn.Module], t: Tensor, data: Tensor, *, horizons: Sequence[float],
    epochs: int | Sequence[int], lr: float | Sequence[float], free_start: bool = False, x0: Tensor | None = None,
    observe: Callable[[Tensor], Tensor] | None = None, method: str = "rk4", steps: int = 1,
    schedule: Callable[[float], float] | None = None, clip: float | None = None, target: float | None = None,
    every: int = 20, traced: bool | None = None, penalty: Callable[[nn.Module], Tensor] | None = None,
) -> TrajectoryFit:
    """Fit fields by the rollout over the times up to each horizon in turn; a stage starts where the last one ended.

    ::

        fit = growing_horizon(field, t, data, horizons=(1.5, 3.0, 5.0), epochs=300, lr=(0.05, 0.05, 0.01))

    The parameters not named here, the result and the errors are those of ``multiple_shooting``. In the result the
    losses and checks run on through the stages, and the rollouts are those over the window of the time.

    Parameters
    ----------
    horizons
        Times, increasing (from t[0] on, in the direction of t); the last should be t[-1], as the fit's rollout is over
        all times whatever the windows were.
    epochs, lr
        For each stage, or one number for all.
    free_start, x0
        Whether the start of the rollout is an unknown too; where it is begun: at data[0] unless x0, shape of a state,
        is given, as it must be with ``observe``.
    target, every
        In a stage a seed stops at the first rollout *over its window* with mean squared error of at most ``target``.
    """
    weights = Weights(models)
    t, data, rule = prepare(t, data, method, steps, dtype=weights.dtype)
    if observe is not None and x0 is None:
        raise ValueError("observe: a start that the data do not show needs x0=..., its first estimate.")
    first = (data[0] if x0 is None else x0.detach().to(data)).unsqueeze(0)
    windows = [window(t, horizon) for horizon in horizons]
    if not windows or sorted(windows) != windows:
        raise ValueError("horizons: expected increasing times, at least one.")
    p = weights.matrix()
    if free_start:
        p = torch.cat((p, first.reshape(1, -1).expand(len(p), -1)), 1)

    def over(n: int, of: Callable[..., Tensor] = rollout_loss) -> Callable[[Tensor], Tensor]:
        whole = cut(t[:n], None)

        def loss(p: Tensor) -> Tensor:
            start = p[weights.size :].view(first.shape) if free_start else first
            return weights.run(p[: weights.size], of, start, data[:n], whole, rule, steps, observe)

        return loss

    stages, nfe = [], 0
    for n, count, rate in zip(windows, each(epochs, windows, "epochs"), each(lr, windows, "lr"), strict=True):
        found = descend(
            over(n, penalised(rollout_loss, penalty)), over(n), p, epochs=count, lr=rate, schedule=schedule,
            clip=clip, target=target, every=every, traced=traced,
        )  # fmt: skip
        p, nfe = found.p, nfe + rule.stages * steps * (n - 1) * len(found.losses)
        stages.append(found)
    final = over(len(t))
    with torch.no_grad():
        rollout = torch.stack([final(row) for row in p])
    weights.write(p[:, : weights.size])
    starts = p[:, weights.size :].view(-1, *first.shape) if free_start else first.expand(len(p), *first.shape)
    fit = collect(joined(stages, rollout), starts, target=target, nfe=1, alone=weights.alone)
    return fit._replace(nfe=nfe)


def full_rollout(
    models: nn.Module | Sequence[nn.Module], t: Tensor, data: Tensor, *, epochs: int, lr: float, **options
) -> TrajectoryFit:
    """Fit fields by the rollout over all times at once: ``growing_horizon`` with the one horizon t[-1].

    The plain method, here to compare with: over a long horizon it tends to end at the mean of the data.
    """
    return growing_horizon(models, t, data, horizons=(float(t[-1]),), epochs=epochs, lr=lr, **options)


def window(t: Tensor, horizon: float) -> int:
    """How many of the times lie within the horizon."""
    slack = 1e-6 * (t[-1] - t[0]).abs()
    n = int(((t - t[0]).abs() <= abs(horizon - float(t[0])) + slack).sum())
    if n < 2:
        raise ValueError(f"horizons: {horizon:g} leaves no time after the first; the next one is {float(t[1]):g}.")
    return n


def each(value, windows: list[int], name: str) -> list:
    """`value` once a window, or as it is if it has one entry for each."""
    values = list(value) if isinstance(value, Sequence) else [value] * len(windows)
    if len(values) != len(windows):
        raise ValueError(f"{name}: has {len(values)} entries for {len(windows)} horizons.")
    return values


def joined(stages: list[Descent], rollout: Tensor) -> Descent:
    """The stages' histories one after another, with the rollout over all times."""
    offsets = torch.tensor([0, *[len(s.losses) for s in stages]]).cumsum(0)
    failed = stages[0].failed
    for stage, offset in zip(stages[1:], offsets[1:-1], strict=True):
        failed = torch.where((failed < 0) & (stage.failed >= 0), stage.failed + offset, failed)
    return Descent(
        stages[-1].p, rollout, stages[-1].best + offsets[-2], torch.cat([s.losses for s in stages]),
        torch.cat([s.checks + o for s, o in zip(stages, offsets[:-1], strict=True)]),
        torch.cat([s.rollouts for s in stages]), failed, sum(s.seconds for s in stages),
    )  # fmt: skip
