"""The continuous adjoint: the gradient of a solution by another differential equation, solved backward in time.

For L a function of x(T), a(t) = dL/dx(t) obeys a' = -(df/dx)ᵀ a, and dL/dp is the integral of (df/dp)ᵀ a over [0, T]
(Pontryagin et al. 1962; Chen, Rubanova, Bettencourt and Duvenaud, arXiv 1806.07366, appendix B). Nothing of the forward
solve is kept but the states at the output times: x(t) is solved backward again beside a. What that costs is accuracy:
this is the gradient of the exact solution up to the errors of both solves, not the gradient of what was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from course_lib.integrators.dopri5 import dopri5
from course_lib.integrators.explicit import METHODS, Field
from course_lib.integrators.inputs import check_state, check_steps, check_times
from course_lib.integrators.solve import find_method, repeat
from course_lib.integrators.step_control import Norm, rms

# f, x, times, norm and the first step to try, if any, to the states, evaluations of f and the step that would follow
Solver = Callable[[Field, Tensor, Tensor, Norm, float | None], tuple[Tensor, int, float | None]]
Count = Callable[[int], None]


def adjoint(
    f: Field, x0: Tensor, t: Tensor | Sequence[float], *, method: str = "dopri5", steps: int = 1, rtol: float = 1e-6,
    atol: float = 1e-6, max_steps: int = 1000, seminorm: bool = False, params: Iterable[Tensor] | None = None,
    forward: Count | None = None, backward: Count | None = None,
) -> Tensor:
    """Integrate x' = f(t, x), x(t[0]) = x0; the gradient comes from the adjoint equation.

    Parameters
    ----------
    f, x0, t
        As for ``solve``; t without gradient.
    method, steps, rtol, atol, max_steps
        "dopri5" with its tolerances, or an explicit method with ``steps`` steps between neighbouring times; the
        backward solve uses the same, and "dopri5" begins it with the step that would have come next.
    seminorm
        Leave the integral that gives dL/dp out of the backward error norm: nothing else depends on it (Kidger, Chen and
        Lyons, arXiv 2009.09457). Fewer steps, if there are many parameters. "dopri5" only.
    params
        What f depends on and needs a gradient; f's parameters, if f is a module.
    forward, backward
        Called with the number of evaluations of f after the forward solve, and after each part of the backward one,
        where an evaluation also gives a product with the transposed Jacobian.

    Returns
    -------
    Tensor
        States, shape (n, \\*x0.shape); differentiable once, with respect to x0 and params.

    Raises
    ------
    SolveError
        No solution forward; or, in the backward pass, none backward, where a decaying field blows up.
    ValueError, TypeError
        One line that names the argument.
    """
    def run(g: Field, x: Tensor, times: Tensor, norm: Norm, h: float | None) -> tuple[Tensor, int, float | None]:
        if method == "dopri5":
            solution = dopri5(g, x, times, rtol=rtol, atol=atol, h0=h, max_steps=max_steps, norm=norm)
            return solution.x, solution.nfe, solution.next_h
        rule = find_method(method)
        return torch.stack(repeat(rule, g, x, times, steps)), rule.stages * steps * (len(times) - 1), None

    need_explicit(method)
    check_steps(steps)
    weights = need_gradient(f, params)
    t = fixed_times(t, check_state(x0))
    return _Adjoint.apply(f, run, seminorm, forward, backward, t, x0, *weights)


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f: Field, run: Solver, seminorm: bool, forward, backward, t: Tensor, x0: Tensor, *params: Tensor):
        x, nfe, ctx.h = run(f, x0, t, rms, None)
        if forward:
            forward(nfe)
        ctx.f, ctx.run, ctx.seminorm, ctx.count, ctx.t, ctx.params = f, run, seminorm, backward, t, params
        ctx.parameters = parameters(f)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        (x,), t, params, h = ctx.saved_tensors, ctx.t, ctx.params, ctx.h
        same_parameters(ctx.f, ctx.parameters)
        n = x[0].numel()
        field, norm = backward_field(ctx.f, x[0].shape, params), parts_norm(n, ctx.seminorm)
        a, g = grad[-1].reshape(-1), x.new_zeros(sum(p.numel() for p in params))
        for i in range(len(t) - 1, 0, -1):
            # Each part goes on with the step of the one before: no small first step to feel its way again.
            z, nfe, h = ctx.run(field, torch.cat((x[i].reshape(-1), a, g)), t[[i, i - 1]], norm, h)
            a, g = z[-1, n : 2 * n] + grad[i - 1].reshape(-1), z[-1, 2 * n :]  # z[-1, :n] is x[i-1], known better
            if ctx.count:
                ctx.count(nfe)
        parts = g.split([p.numel() for p in params])
        return None, None, None, None, None, None, a.view_as(x[0]), *map(Tensor.view_as, parts, params)


def backward_field(f: Field, shape: torch.Size, params: Sequence[Tensor]) -> Field:
    """The field of z = (x, a, g), flat: x' = f, a' = -(df/dx)ᵀ a, g' = -(df/dp)ᵀ a, with one Jacobian product."""
    n = shape.numel()

    def field(t: Tensor, z: Tensor) -> Tensor:
        x, a = z[:n].detach().view(shape).requires_grad_(), z[n : 2 * n].view(shape)
        with torch.enable_grad():
            slope = f(t, x)
        if not slope.requires_grad:  # a constant field without parameters
            return torch.cat((slope.reshape(-1), torch.zeros_like(z[n:])))
        products = torch.autograd.grad(slope, (x, *params), -a, allow_unused=True, materialize_grads=True)
        return torch.cat([v.reshape(-1) for v in (slope.detach(), *products)])

    return field


def parts_norm(n: int, seminorm: bool) -> Norm:
    """The largest of the root mean squares of x, a and g, so that many parameters do not drown the state."""

    def norm(e: Tensor) -> Tensor:
        parts = (e[:n], e[n : 2 * n]) if seminorm or len(e) == 2 * n else (e[:n], e[n : 2 * n], e[2 * n :])
        return torch.stack([rms(part) for part in parts]).max()

    return norm


def need_explicit(method: str) -> None:
    """Refuse what cannot step ``backward_field``: Newton's method would differentiate it, and it has no two halves."""
    if method != "dopri5" and find_method(method) is not METHODS.get(method):
        raise ValueError(f"method: {method!r} cannot solve the adjoint equation; use an explicit method, or "
                         'gradient="discrete".')


def need_gradient(f: Field, params: Iterable[Tensor] | None) -> tuple[Tensor, ...]:
    """The tensors that get a gradient beside x0."""
    if params is None:
        if not isinstance(f, nn.Module):
            raise ValueError("params: f is not a module: name the tensors it depends on, or () for none.")
        params = parameters(f)
    return tuple(p for p in params if p.requires_grad)


def fixed_times(t: Tensor | Sequence[float], x0: Tensor) -> Tensor:
    if isinstance(t, Tensor) and t.requires_grad:
        raise ValueError('t: needs a gradient, which only gradient="direct" with a fixed-step method gives; detach it.')
    return check_times(t, x0)


def parameters(f: Field) -> list[Tensor]:
    return list(f.parameters()) if isinstance(f, nn.Module) else []


def same_parameters(f: Field, before: list[Tensor]) -> None:
    """The backward pass evaluates f again, so f must still be the one of the forward pass."""
    if any(now is not then for now, then in zip(parameters(f), before, strict=True)):
        raise RuntimeError('f: its parameters are not those of the forward pass; with functional_call or vmap use '
                           'gradient="direct".')
