"""Multiple shooting for fields of several seeds, each with times and data of its own: how `lotka-volterra` trains.

``course_lib.fitting.multiple_shooting`` gives all seeds one set of times. Here seed k may have lost other points than
seed j, and loss, validation and weights kept are recorded seed by seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..integrators.explicit import rk4
from ..train import History


class Trained(NamedTuple):
    """x0: (seeds, d), starts of the rollouts; losses: (epochs, seeds), misfit before each step; watched: (epochs,
    seeds), what ``watch`` gave last; seconds: for all seeds."""

    x0: Tensor
    losses: Tensor
    watched: Tensor
    seconds: float

    def then(self, later: Trained) -> Trained:
        """This stage and a later one as one."""
        losses, watched = (torch.cat((getattr(self, k), getattr(later, k))) for k in ("losses", "watched"))
        return Trained(later.x0, losses, watched, self.seconds + later.seconds)

    def histories(self, lr: float) -> list[History]:
        """One History a seed."""
        epochs, none = len(self.losses), [0.0] * len(self.losses)
        return [
            History(
                loss=loss.tolist(), metrics={"val_loss": seen.tolist()}, nfe_forward=none, nfe_backward=none,
                grad_norm=[math.nan] * epochs, lr=[lr] * epochs, seconds=[math.nan] * epochs,
                peak_memory=[math.nan] * epochs, steps=epochs,
            )
            for loss, seen in zip(self.losses.T, self.watched.T, strict=True)
        ]  # fmt: skip


def rollout(field: nn.Module, x0: Tensor, t: Tensor, *, steps: int = 4) -> Tensor:
    """States at the times t, (n,) or (n, seeds), from x0, (..., seeds, d): shape (n, ..., seeds, d). No gradients."""
    x, states = x0, [x0]
    with torch.no_grad():
        for gap in t.diff(dim=0):
            h = gap.unsqueeze(-1) / steps if gap.ndim else gap / steps
            for _ in range(steps):
                x = _step(field, x, h)
            states.append(x)
    return torch.stack(states)


def _step(field: nn.Module, x: Tensor, h: Tensor) -> Tensor:
    return rk4(field, torch.zeros(()), x, h)  # autonomous: the time does not matter


def shoot(
    field: nn.Module, t: Tensor, data: Tensor, *, group: int | None, epochs: int, lr: float, continuity: float = 1.0,
    decay: Tensor | float = 0.0, x0: Tensor | None = None, steps: int = 1,
    watch: Callable[[nn.Module, Tensor], Tensor] | None = None, every: int = 25,
) -> Trained:
    """Train the field of all seeds by Adam with a cosine schedule.

    Parameters
    ----------
    field
        Module f(t, x), x (..., seeds, d), with ``field.net.squares()``, see ``course_lib.neural_ode.structured``.
    t, data
        Times (n, seeds), increasing; data (n, seeds, d).
    group, continuity
        Gaps in a segment, None for a single one; weight of the mean squared jump between segments.
    decay
        Weight of the sum of squared weights, one for all or (seeds,).
    x0
        First start of the first segment, (seeds, d); else the first data.
    steps
        Equal steps of RK4 between neighbouring times.
    watch, every
        (field, x0) -> (seeds,), measured every so many epochs.
    """
    n, seeds, d = data.shape
    group = n - 1 if group is None else min(group, n - 1)
    missing = -(n - 1) % group
    h = torch.cat((t.diff(dim=0), t.new_zeros(missing, seeds))).view(-1, group, seeds, 1) / steps
    starts = data[: n - 1 : group].clone()
    if x0 is not None:
        starts[0] = x0
    starts.requires_grad_()
    weights = [p for p in field.parameters() if p.requires_grad]
    adam = torch.optim.Adam([*weights, starts], lr=lr)
    losses, watched, began = [], [], time.perf_counter()
    for epoch in range(epochs):
        adam.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        x, seen = starts, []
        for gap in h.unbind(1):
            for _ in range(steps):
                x = _step(field, x, gap)
            seen.append(x)
        # The gaps that fill up the last segment come last: what is left after n - 1 rows is theirs.
        states = torch.stack(seen, 1).flatten(0, 1)[: n - 1]
        misfit = (states - data[1:]).square().sum((0, 2)) + (starts - data[: n - 1 : group]).square().sum((0, 2))
        misfit = misfit / ((n - 1 + len(starts)) * d)
        loss = misfit + decay * field.net.squares()
        if len(starts) > 1:
            loss = loss + continuity * (x[:-1] - starts[1:]).square().mean((0, 2))
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
        losses.append(misfit.detach())
        if watch is not None and (epoch % every == 0 or epoch == epochs - 1):
            value = watch(field, starts[0].detach())
        watched.append(value if watch is not None else misfit.detach())
    return Trained(starts[0].detach(), torch.stack(losses), torch.stack(watched), time.perf_counter() - began)


def rms(error: Tensor) -> Tensor:
    """Root mean square over times and species, (n, seeds, 2) -> (seeds,)."""
    return error.square().mean((0, 2)).sqrt()


def median(values: list[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).quantile(0.5).item()
