"""``dopri5``: the method of Dormand and Prince, of order 5, which chooses its own steps to meet a tolerance.

Six evaluations give a result of order 5 and, weighted otherwise, one of order 4; their difference estimates the error.
A seventh, at the end of the step, is the first of the next one ("first same as last", FSAL). Coefficients: Dormand and
Prince, J. Comput. Appl. Math. 6 (1980), 19–26; Hairer, Nørsett and Wanner (1993), table II.5.2. States between the
steps: Shampine, Math. Comp. 46 (1986), 135–150, order 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .errors import SolveError
from .explicit import Field
from .inputs import all_finite, check_state, check_times, is_batched, numbers
from .step_control import STRETCH, Norm, error_ratio, first_step, next_step, rms

C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)  # times of the stages 2 to 7, in units of h
A = (  # weights of the slopes before them; the last row gives the new state
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)  # order 5 minus order 4
P = (  # weights at the share s of a step: polynomials in s without a constant term, a row a slope
    (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
    (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
    (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
    (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
    (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
)
DENSE = torch.tensor(P, dtype=torch.float64).T  # (powers, slopes)


class Step(NamedTuple):
    """A step that was tried at time t: its size h, its error in units of the tolerance, whether it was taken."""

    t: float
    h: float
    error: float
    accepted: bool


class Solution(NamedTuple):
    """x: states at the times asked for, (n, \\*x0.shape). nfe: evaluations of f. steps: all that were tried."""

    x: Tensor
    nfe: int
    accepted: int
    rejected: int
    steps: list[Step]

    @property
    def next_h(self) -> float:
        """The size, positive, of the step that would come next, had the times gone on."""
        return abs(next_step(self.steps[-1].h, self.steps[-1].error, 1.0))


def dopri5(
    f: Field, x0: Tensor, t: Tensor | Sequence[float], *, rtol: float = 1e-6, atol: float = 1e-6,
    h0: float | None = None, max_steps: int = 1000, norm: Norm = rms, beta: float = 0.0,
) -> Solution:
    """Integrate x' = f(t, x), x(t[0]) = x0, so that the estimate of each step's error, in the root mean square, stays
    within atol + rtol·abs(x).

    Parameters
    ----------
    f
        The field, called as ``f(t, x)`` with t a 0-d tensor and x shaped like x0; returns dx/dt of that shape. It
        should be smooth: at every kink the steps become short.
    x0
        Initial state, any shape, a floating-point dtype. Its entries, samples of a batch too, share one step size.
    t
        Times, shape (n,), n >= 2, strictly increasing or strictly decreasing. Only the last one bounds a step; the
        states at the others are interpolated, and cost no evaluation.
    rtol, atol
        Tolerances, relative and absolute, of the error of one step. The error at the end may be larger.
    h0
        Size of the first step; without it, it is chosen at the cost of one evaluation.
    max_steps
        Most steps, those rejected included.
    norm
        A function of the error, scaled and of the shape of x0, that gives its size: the root mean square.
    beta
        0 for the I controller; 0.04, for example, for the PI controller (``step_control.next_step``).

    Returns
    -------
    Solution
        Its x is differentiable with respect to x0 and whatever f depends on, through the steps that were taken and
        with their sizes held fixed; not with respect to t.

    Raises
    ------
    SolveError
        The step size underflowed, the steps ran out, or f is not finite at the start.
    ValueError, TypeError
        One line that names the argument.
    """
    x, times = check_state(x0), plain_times(t, x0)
    if not (min(rtol, atol) >= 0 and max(rtol, atol) > 0):
        raise ValueError(f"rtol, atol: expected numbers >= 0, not both zero, got {rtol!r} and {atol!r}.")
    now, end, later = times[0], times[-1], 1  # later: index of the next time to give the state at
    slope = f(torch.tensor(now, dtype=x.dtype, device=x.device), x)
    check_slope(slope, x, now)
    with torch.no_grad():
        h = first_step(f, now, x, slope, end - now, rtol, atol, norm) if h0 is None else math.copysign(h0, end - now)
    steps, states, before = [], [x], 1.0
    while now != end:
        if len(steps) == max_steps or abs(h) < 10 * math.ulp(now):
            raise SolveError(why_it_ended(now, end, h, steps))
        final = abs(end - now) <= STRETCH * abs(h)
        h = end - now if final else h
        y, k = stages(f, now, x, h, slope)
        with torch.no_grad():
            error = error_ratio(combine(None, h, E, k), x, y, rtol, atol, norm)
        steps.append(Step(now, h, error, error <= 1))
        if error <= 1:
            reached = end if final else now + h
            inside = later
            while later < len(times) and abs(times[later] - times[0]) < abs(reached - times[0]):
                later += 1
            if later > inside:
                states += between(x, h, k, [(s - now) / h for s in times[inside:later]])
            if later < len(times) and times[later] == reached:
                states.append(y)
                later += 1
            now, x, slope = reached, y, k[6]
        h = next_step(h, error, before, beta=beta)
        before = error if steps[-1].accepted else before
    accepted = sum(step.accepted for step in steps)
    nfe = 1 + (h0 is None) + 6 * len(steps)
    return Solution(torch.stack(states), nfe, accepted, len(steps) - accepted, steps)


def stages(f: Field, t: float, x: Tensor, h: float, slope: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The state after one step and the seven slopes in it, of which the first is given."""
    k = [slope]
    for row, s in zip(A, torch.tensor([t + c * h for c in C], dtype=x.dtype, device=x.device).unbind(), strict=True):
        y = combine(x, h, row, k)
        k.append(f(s, y))
    return y, k


def combine(x: Tensor | None, h: float, weights: Sequence[float], k: list[Tensor]) -> Tensor:
    """x + h·sum of weights[i]·k[i]; x = None stands for zero.

    The sum grows in place: autograd needs none of its parts, and memory once written is quicker than new.
    """
    y = k[0] * (h * weights[0]) if x is None else torch.add(x, k[0], alpha=h * weights[0])
    for w, slope in zip(weights[1:], k[1:], strict=False):
        if w:
            y.add_(slope, alpha=h * w)
    return y


def between(x: Tensor, h: float, k: list[Tensor], shares: list[float]) -> list[Tensor]:
    """States inside a step of size h from x, at the given shares of it: dense output, all by one product."""
    powers = torch.tensor([[s, s**2, s**3, s**4] for s in shares], dtype=torch.float64)
    weights = (h * powers @ DENSE).to(x)
    states = torch.addmm(x.reshape(1, -1), weights, torch.stack(k).reshape(7, -1))
    return list(states.view(len(shares), *x.shape).unbind())


def plain_times(t: Tensor | Sequence[float], x0: Tensor) -> list[float]:
    """The times as floats: the loop compares and adds them, which floats do a hundred times faster than tensors."""
    if isinstance(t, Tensor) and t.requires_grad:
        raise ValueError("t: needs a gradient, which dopri5 does not give; use a fixed-step method or t.detach().")
    return numbers(check_times(t, x0))


def check_slope(slope: Tensor, x: Tensor, t: float) -> None:
    if slope.shape != x.shape:
        raise ValueError(f"f: returned shape {tuple(slope.shape)} for a state {tuple(x.shape)}; return the same.")
    if is_batched(slope):
        raise TypeError("f, x0: under vmap there is no one step size for all; use a fixed-step method.")
    if not all_finite(slope):
        raise SolveError(f"no solution: f is not finite at the start, t = {t:g}; check the field and its weights.")


def why_it_ended(t: float, end: float, h: float, steps: list[Step]) -> str:
    """One line on a solve that did not arrive."""
    error = steps[-1].error if steps else math.nan
    place = f"no solution up to t = {end:g}: at t = {t:g} "
    if abs(h) < 10 * math.ulp(t):
        reason = "the state is not finite" if not math.isfinite(error) else f"error {error:.2g} of the tolerance"
        return (place + f"underflow in dt (h = {h:.2g}, {reason}): the solution blows up there, or f jumps.")
    return (place + f"the {len(steps)} steps ran out (h = {h:.2g}): raise max_steps, loosen rtol and atol (they may be "
            "below rounding: use float64), or, if the field is stiff, use an implicit method.")
