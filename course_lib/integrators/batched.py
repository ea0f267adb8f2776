"""``dopri5_each``: many independent problems in one tensor, each with its own step size.

``dopri5`` gives all entries of its state one step size, so that problems put side by side disturb each other: the
hardest one decides the steps of all. Here the first axis counts independent problems, such as the models of several
seeds. In every round each of them tries a step of its own size and takes it or not by its own error; one that has
arrived waits. Each therefore goes through the steps that it would take alone, while the field is evaluated for all at
once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .dopri5 import A, C, E, P, Step, check_slope, plain_times, why_it_ended
from .errors import SolveError
from .inputs import check_state
from .step_control import STRETCH, next_step

WEIGHTS = torch.tensor([w for row in (*A, E) for w in row], dtype=torch.float64)
ENDS = [sum(len(row) for row in (*A, E)[: i + 1]) for i in range(len(A) + 1)]


class Solutions(NamedTuple):
    """x: states at the times asked for, (n, \\*x0.shape). nfe, accepted, rejected: (problems,), counts of evaluations
    and steps, as each problem would have alone. steps: for each problem a list of those tried."""

    x: Tensor
    nfe: Tensor
    accepted: Tensor
    rejected: Tensor
    steps: list[list[Step]]


def dopri5_each(
    f: Callable[[Tensor, Tensor], Tensor], x0: Tensor, t: Tensor | Sequence[float], *, rtol: float = 1e-6,
    atol: float = 1e-6, h0: float | None = None, max_steps: int = 1000,
) -> Solutions:
    """Integrate independent problems x_i' = f_i(t_i, x_i) as ``dopri5`` would each of them alone.

    Parameters
    ----------
    f
        All fields at once: t is (problems, 1, ..., 1), a time for each problem, with as many axes as x, and x is shaped
        like x0. Problem i of the result may depend on t[i] and x[i] alone.
    x0
        Initial states, (problems, ...), a floating-point dtype.
    t
        Times, shape (n,), the same for all problems, strictly increasing or strictly decreasing.
    rtol, atol, h0, max_steps
        As in ``dopri5``, for each problem; the error's norm is the root mean square over a problem's entries.

    Returns
    -------
    Solutions
        Its x is differentiable with respect to x0 and whatever f depends on, with the step sizes held fixed.

    Raises
    ------
    SolveError
        If one of the problems has no solution: its number (from 0) and what ``dopri5`` says of it.
    ValueError, TypeError
        One line that names the argument.
    """
    x, times = check_state(x0), plain_times(t, x0)
    if x.ndim < 1 or not len(x):
        raise ValueError(f"x0: expected shape (problems, ...), got {tuple(x.shape)}; its first axis counts problems.")
    if not (min(rtol, atol) >= 0 and max(rtol, atol) > 0):
        raise ValueError(f"rtol, atol: expected numbers >= 0, not both zero, got {rtol!r} and {atol!r}.")
    count, end, sign = len(x), times[-1], math.copysign(1, times[-1] - times[0])
    now = [times[0]] * count
    slope = f(column(now, x), x)
    check_slope(slope, x, times[0])
    with torch.no_grad():
        h = first_steps(f, times, x, slope, rtol, atol) if h0 is None else [sign * h0] * count
    steps: list[list[Step]] = [[] for _ in now]
    states = [x] + [None] * (len(times) - 1)
    while live := [i for i in range(count) if now[i] != end]:
        for i in live:
            if len(steps[i]) == max_steps or abs(h[i]) < 10 * math.ulp(now[i]):
                raise SolveError(f"problem {i}: {why_it_ended(now[i], end, h[i], steps[i])}")
        final = [abs(end - now[i]) <= STRETCH * abs(h[i]) for i in range(count)]
        h = [(end - now[i] if final[i] else h[i]) if now[i] != end else 0.0 for i in range(count)]
        y, k, error = attempt(f, now, x, h, slope, rtol, atol)
        lost = [i for i in live if not math.isfinite(error[i])]
        if lost:  # stand still there: even unused, infinite numbers would spoil the gradient
            y, k, again = attempt(f, now, x, [0.0 if i in lost else h[i] for i in range(count)], slope, rtol, atol)
            error = [math.inf if i in lost else again[i] for i in range(count)]
        taken = [i for i in live if error[i] <= 1]
        reached = [(end if final[i] else now[i] + h[i]) if i in taken else now[i] for i in range(count)]
        for j, time in enumerate(times[1:], 1):
            inside = [sign * now[i] < sign * time <= sign * reached[i] for i in range(count)]
            if any(inside):
                share = [(time - now[i]) / h[i] if inside[i] else 0.0 for i in range(count)]
                at = y if time == end else between(x, h, k, share)
                whole = [s == 1 for s in share]
                at = choose(whole, y, at) if any(whole) and time != end else at
                states[j] = choose(inside, at, x if states[j] is None else states[j])
        if len(taken) == count:
            x, slope = y, k[6]
        else:
            mask = [i in taken for i in range(count)]
            x, slope = choose(mask, y, x), choose(mask, k[6], slope)
        for i in live:
            steps[i].append(Step(now[i], h[i], error[i], error[i] <= 1))
            h[i] = next_step(h[i], error[i], 1.0)
        now = reached
    taken, tried = ([sum(s.accepted for s in each) for each in steps], [len(each) for each in steps])
    accepted, tried = torch.tensor(taken), torch.tensor(tried)
    return Solutions(torch.stack(states), 1 + (h0 is None) + 6 * tried, accepted, tried - accepted, steps)


def attempt(f, t: list[float], x: Tensor, h: list[float], slope: Tensor, rtol: float, atol: float):
    """A step of size h[i] of each problem: new states, the seven slopes, and errors in units of the tolerance."""
    axes = [1] * (x.ndim - 1)
    size = torch.tensor(h, dtype=torch.float64)
    when = torch.tensor(t, dtype=torch.float64) + torch.tensor(C, dtype=torch.float64)[:, None] * size
    weights = (WEIGHTS[:, None] * size).to(x).view(-1, len(h), *axes).unbind()
    k, start = [slope], 0
    for s, stop in zip(when.to(x).view(-1, len(h), *axes).unbind(), ENDS, strict=False):
        y = combine(x, weights[start:stop], k)
        k.append(f(s, y))
        start = stop
    with torch.no_grad():
        e = combine(torch.zeros_like(x), weights[start:], k)
        error = sizes(e / torch.maximum(x.abs(), y.abs()).mul_(rtol).add_(atol))
    return y, k, error


def combine(x: Tensor, weights: Sequence[Tensor], k: list[Tensor]) -> Tensor:
    """x + sum of weights[i]·k[i], each weight (problems, 1, ..., 1); the second slope counts in two stages alone."""
    skipped = len(weights) > 5  # the last stage and the error
    for i, (w, slope) in enumerate(zip(weights, k, strict=True)):
        if i != 1 or not skipped:
            x = torch.addcmul(x, w, slope)
    return x


def first_steps(f, times: list[float], x: Tensor, k: Tensor, rtol: float, atol: float) -> list[float]:
    """``step_control.first_step`` for each problem, by one more evaluation of f for all."""
    span, sign = abs(times[-1] - times[0]), math.copysign(1, times[-1] - times[0])
    allowed = x.abs() * rtol + atol
    size, slope = sizes(x / allowed), sizes(k / allowed)
    trial = [1e-6 if min(a, b) < 1e-5 else 0.01 * a / b for a, b in zip(size, slope, strict=True)]
    trial = [sign * min(a, span) for a in trial]
    bend = sizes((f(column([times[0] + a for a in trial], x), x + column(trial, x) * k) - k) / allowed)
    h = []
    for a, b, c in zip(trial, slope, bend, strict=True):
        largest = max(b, c / abs(a))
        if not largest < math.inf:
            h.append(a)
            continue
        guess = max(1e-6, 1e-3 * abs(a)) if largest <= 1e-15 else (0.01 / largest) ** 0.2
        h.append(sign * min(100 * abs(a), guess, span))
    return h


def between(x: Tensor, h: list[float], k: list[Tensor], share: list[float]) -> Tensor:
    """The state of each problem at its share of its step: ``dopri5``'s dense output."""
    s = torch.tensor(share, dtype=torch.float64)
    weights = torch.tensor(P, dtype=torch.float64) @ s ** torch.arange(1, 5)[:, None]
    weights = torch.tensor(h, dtype=torch.float64) * weights
    return x + (weights.to(x).view(7, -1, *[1] * (x.ndim - 1)) * torch.stack(k)).sum(0)


def sizes(v: Tensor) -> list[float]:
    """Root mean square of each problem's entries."""
    v = v.reshape(len(v), -1)
    return (torch.linalg.vector_norm(v, dim=1) / v.shape[1] ** 0.5).tolist()


def column(values: list[float], x: Tensor) -> Tensor:
    """One number a problem, (problems, 1, ..., 1), of x's dtype and device."""
    return torch.tensor(values, dtype=torch.float64).to(x).view(-1, *[1] * (x.ndim - 1))


def choose(mask: list[bool], a: Tensor, b: Tensor) -> Tensor:
    """a where the problem's mask is true, else b."""
    return torch.where(torch.tensor(mask, device=a.device).view(-1, *[1] * (a.ndim - 1)), a, b)
