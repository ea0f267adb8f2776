"""The discrete adjoint: the exact gradient of what a fixed-step method computed, from a few states kept.

Backpropagation through n steps keeps every stage of every step. Here the forward pass keeps some of the states, the
checkpoints, and the backward pass computes what lies between them once more (Griewank, Optim. Methods Softw. 1 (1992),
35–54). About √n checkpoints of about √n steps each need one more forward pass and O(√n) memory; halving again and
again needs O(log n) memory and up to log2(n)/2 more forward passes.

With every state kept, nothing need be done again one step after another: the steps' Jacobians are computed all at once,
as one batch, and only their product is left to form in order. For a state of few numbers that is several times faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from course_lib.integrators.explicit import Field
from course_lib.integrators.implicit import IMPLICIT
from course_lib.integrators.inputs import check_state, check_steps
from course_lib.integrators.solve import find_method

from .adjoint import Count, fixed_times, need_gradient, parameters, same_parameters

LEAF = 4  # steps whose graph recursive halving holds at once
BATCH = 64  # steps that are linearised as one batch


def discrete_adjoint(
    f: Field, x0: Tensor, t: Tensor | Sequence[float], *, method: str = "rk4", steps: int = 1,
    checkpoints: int | str | None = None, params: Iterable[Tensor] | None = None,
    forward: Count | None = None, backward: Count | None = None,
) -> Tensor:
    """``solve`` with the same result and the same gradient, to rounding, but less memory.

    Parameters
    ----------
    f, x0, t, method, steps
        As for ``solve``; a fixed-step method, t without gradient. f must give the same result when it is evaluated
        again: no dropout, and batch normalisation counts its statistics twice.
    checkpoints
        States to keep for n steps in all: None for about √n; a number; "log" for recursive halving, which keeps
        about log2(n); or "all", with the steps linearised in batches: for states of up to some ten numbers, explicit
        methods, and fields that ``torch.func.vmap`` can map.
    params
        What f depends on and needs a gradient; f's parameters, if f is a module.
    forward, backward
        Called with the evaluations of f in the forward pass, and in the backward pass those done again.

    Returns
    -------
    Tensor
        States, shape (n, \\*x0.shape); differentiable once, with respect to x0 and params.

    Raises
    ------
    ValueError, TypeError
        One line that names the argument.
    """
    weights = need_gradient(f, params)
    t = fixed_times(t, check_state(x0))
    ladder = Ladder(f, t, method, check_steps(steps), weights)
    if checkpoints == "log":
        kept, ladder.leaf = 1, LEAF
    elif checkpoints == "all":
        if method in IMPLICIT:
            raise ValueError(f'checkpoints: "all" needs an explicit method, not {method}; use None.')
        kept, ladder.at_once = ladder.n, True
    elif checkpoints is None:
        kept = max(1, round(math.sqrt(ladder.n)))
    elif isinstance(checkpoints, int) and not isinstance(checkpoints, bool) and checkpoints >= 1:
        kept = min(checkpoints, ladder.n)
    else:
        raise ValueError(f'checkpoints: expected a whole number >= 1, "log", "all" or None, got {checkpoints!r}.')
    marks = [ladder.n * i // kept for i in range(kept + 1)]
    return _Discrete.apply(ladder, marks, forward, backward, x0, *weights)


class Ladder:
    """The n steps of a solve, numbered from 0: step k leads from state k to state k + 1.

    leaf is the most steps whose graph is held at once; at_once says that steps are linearised in batches; ``redone``
    counts the steps that were computed once more.
    """

    def __init__(self, f: Field, t: Tensor, method: str, steps: int, params: Sequence[Tensor]):
        self.f, self.rule, self.params, self.every = f, find_method(method), params, steps
        sizes = t.diff() / steps
        share = torch.arange(steps, dtype=t.dtype, device=t.device)
        self.times = (t[:-1, None] + share * sizes[:, None]).flatten().unbind()
        self.sizes = sizes.tolist()
        self.n, self.redone = len(self.times), 0
        self.leaf, self.at_once = self.n, False

    def step(self, k: int, x: Tensor) -> Tensor:
        return self.rule.step(self.f, self.times[k], x, self.sizes[k // self.every])

    def advance(self, x: Tensor, start: int, end: int) -> Tensor:
        """State ``end`` from state ``start``."""
        self.redone += end - start
        for k in range(start, end):
            x = self.step(k, x)
        return x

    def reverse(self, x: Tensor, a: Tensor, start: int, end: int, grad: Tensor, total: list[Tensor | None]) -> Tensor:
        """From x, state ``start``, and a, the loss's derivative by state ``end``, that by state ``start``.

        grad holds the derivatives by the states at the output times, total those by the parameters, added to.
        """
        if end - start > self.leaf:
            middle = (start + end) // 2
            a = self.reverse(self.advance(x, start, middle), a, middle, end, grad, total)
            return self.reverse(x, a, start, middle, grad, total)
        outputs, slopes = [], []
        with torch.enable_grad():
            y = x = x.detach().requires_grad_()
            for k in range(start, end):
                y = self.step(k, y)
                if (k + 1) % self.every == 0 and k + 1 < end:
                    outputs.append(y)
                    slopes.append(grad[(k + 1) // self.every])
        self.redone += end - start
        # allow_unused: a field may have parameters that it does not use.
        a, *parts = torch.autograd.grad([*outputs, y], [x, *self.params], [*slopes, a], allow_unused=True)
        add_to(total, parts)
        return a if start % self.every else a + grad[start // self.every]

    def reverse_at_once(self, states: Sequence[Tensor], a: Tensor, start: int, grad: Tensor,
                        total: list[Tensor | None]) -> Tensor:
        """``reverse`` for the steps from the given states, the first of which is state ``start``."""
        end, shape = start + len(states), a.shape
        h = torch.tensor([self.sizes[k // self.every] for k in range(start, end)], dtype=a.dtype, device=a.device)
        with torch.enable_grad():
            x = torch.stack(states).requires_grad_()
            y = torch.func.vmap(lambda t, x, h: self.rule.step(self.f, t, x, h))(
                torch.stack(self.times[start:end]), x, h).flatten(1)
            sums = y.sum(0).unbind()
        # Every step depends on its own state alone: the gradient of a sum over the steps is a row of each Jacobian.
        rows = [torch.autograd.grad(entry, x, retain_graph=True)[0].flatten(1) for entry in sums]
        transposed = torch.stack(rows, dim=2).unbind()
        a, slopes = a.reshape(-1), []
        for k in range(end - 1, start - 1, -1):
            slopes.append(a)
            a = torch.mv(transposed[k - start], a)
            if k % self.every == 0:
                a = a + grad[k // self.every].reshape(-1)
        self.redone += end - start
        if self.params:
            add_to(total, torch.autograd.grad(y, self.params, torch.stack(slopes[::-1]), allow_unused=True))
        return a.view(shape)


def add_to(total: list[Tensor | None], parts: Sequence[Tensor | None]) -> None:
    for i, part in enumerate(parts):
        if part is not None:
            total[i] = part if total[i] is None else total[i] + part


class _Discrete(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ladder: Ladder, marks: list[int], forward, backward, x0: Tensor, *params: Tensor):
        x, kept, states = x0, [], [x0]
        for k in range(ladder.n):
            if k == marks[len(kept)]:
                kept.append(x)
            x = ladder.step(k, x)
            if (k + 1) % ladder.every == 0:
                states.append(x)
        if x.shape != x0.shape:
            raise ValueError(f"f: made the state {tuple(x.shape)} from {tuple(x0.shape)}; return the shape of x.")
        if forward:
            forward(ladder.n * ladder.rule.stages)
        ctx.ladder, ctx.marks, ctx.count, ctx.parameters = ladder, marks, backward, parameters(ladder.f)
        ctx.save_for_backward(*kept)
        return torch.stack(states)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        ladder, marks, kept = ctx.ladder, ctx.marks, ctx.saved_tensors
        same_parameters(ladder.f, ctx.parameters)
        total: list[Tensor | None] = [None] * len(ladder.params)
        a, ladder.redone = grad[-1], 0
        if ladder.at_once:
            for start in range((ladder.n - 1) // BATCH * BATCH, -1, -BATCH):
                a = ladder.reverse_at_once(kept[start : start + BATCH], a, start, grad, total)
        else:
            for i in range(len(kept) - 1, -1, -1):
                a = ladder.reverse(kept[i], a, marks[i], marks[i + 1], grad, total)
        if ctx.count:
            ctx.count(ladder.redone * ladder.rule.stages)
        return None, None, None, None, a, *total
