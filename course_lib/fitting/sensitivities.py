"""Solutions of x' = f(t, x; p) and their derivatives by the parameters, through torchdiffeq or by RK4.

A *model* is a function of the parameters: ``model(p) -> (f, x0)``, p of shape (..., n), x0 of shape (..., d), and f a
field for states of x0's shape. It must treat leading axes as a batch: that is how all n derivatives are had at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad

from course_lib.integrators.errors import SolveError
from course_lib.integrators.explicit import Field, rk4

Model = Callable[[Tensor], tuple[Field, Tensor]]


def integrate(
    f: Field, x0: Tensor, t: Tensor, *, method: str = "dopri5", rtol: float = 1e-6, atol: float = 1e-6,
    max_steps: int = 500,
) -> Tensor:
    """torchdiffeq's ``odeint`` with a bound on its work and one kind of error.

    Parameters
    ----------
    f, x0, t
        Field f(t, x); initial state, a tensor of any shape; times, shape (m,), strictly monotone.
    method, rtol, atol
        An adaptive method of torchdiffeq. A step is taken if its estimated error is below atol + rtol·abs(x) (root mean
        square over the state).
    max_steps
        Most steps between two neighbouring times.

    Returns
    -------
    Tensor
        States at t, shape (m, \\*x0.shape).

    Raises
    ------
    SolveError
        The step size underflowed, the steps ran out, or a state is not finite.
    """
    from torchdiffeq import odeint  # here: it takes as long to import as a small fit takes

    try:
        x = odeint(f, x0, t, method=method, rtol=rtol, atol=atol, options={"max_num_steps": max_steps})
    except AssertionError as error:  # torchdiffeq reports every failure of a solve by a bare assert
        raise SolveError(f"no solution up to t = {t[-1].item():g}: {error}") from error
    if not torch.isfinite(x).all():
        raise SolveError(f"no solution up to t = {t[-1].item():g}: the state is not finite.")
    return x


def sensitivities(model: Model, p: Tensor, t: Tensor, **solver) -> tuple[Tensor, Tensor]:
    """Solution x(t) and its derivative S(t) = dx/dp by the variational equations.

    S' = (df/dx) S + df/dp, S(0) = dx0/dp, is integrated beside x: n copies of the system run as one batch, and copy k
    carries the k-th column of S as a forward-mode tangent (Hairer, Nørsett and Wanner 1993, section I.14).

    Parameters
    ----------
    model, p, t
        See the module; p has shape (n,), t shape (m,).
    solver
        Keyword arguments of ``integrate``; the tolerances hold for x and S together.

    Returns
    -------
    tuple of Tensor
        x of shape (m, d) and S of shape (m, d, n).
    """
    if p.ndim != 1:
        raise ValueError(f"p: expected a 1-D tensor of parameters, got shape {tuple(p.shape)}.")
    p, n = p.detach(), len(p)
    with torch.no_grad(), forward_ad.dual_level():  # no_grad is about backward mode alone
        f, x0 = model(forward_ad.make_dual(p.repeat(n, 1), torch.eye(n, dtype=p.dtype, device=p.device)))
        if x0.shape[:-1] != (n,):
            raise ValueError(f"model: from p of shape {(n, n)} it made x0 of shape {tuple(x0.shape)}; keep batch axes.")

        def split(dual: Tensor) -> Tensor:
            value, tangent = forward_ad.unpack_dual(dual)
            return torch.stack((value, torch.zeros_like(value) if tangent is None else tangent))

        def both(t: Tensor, state: Tensor) -> Tensor:
            return split(f(t, forward_ad.make_dual(state[0], state[1])))

        x, s = integrate(both, split(x0), t, **solver).unbind(dim=1)
    return x[:, 0], s.transpose(1, 2)


@torch.no_grad()
def sensitivities_rows(model: Model, p: Tensor, t: Tensor, *, steps: int) -> tuple[Tensor, Tensor]:
    """The same for rows of parameters, p of shape (k, n), by RK4: x of shape (k, m, d) and S of (k, m, d, n).

    First the states; then, as they are known, the derivatives of all steps of all rows as one batch; last their
    products (Bock 1981). S is the derivative of what was computed, and needs no solve of its own.
    """
    h = t.diff().repeat_interleave(steps) / steps
    start = t[:-1].repeat_interleave(steps) + h * torch.arange(steps, dtype=t.dtype).repeat(len(t) - 1)
    f, x = model(p)
    states = [x]
    for s, size in zip(start, h.tolist(), strict=True):
        states.append(rk4(f, s, states[-1], size))
    x = torch.stack(states, 1)
    with torch.enable_grad():
        first, every = p.clone().requires_grad_(), p.unsqueeze(1).repeat(1, len(h), 1).requires_grad_()
        before = x[:, :-1].clone().requires_grad_()
        one = (1, -1, 1)
        (S,) = slopes(model(first)[1], first)
        by_p, by_x = slopes(rk4(model(every)[0], start.view(one), before, h.view(one)), every, before)
    kept = [S]
    for j in range(len(h)):
        S = torch.baddbmm(by_p[:, j], by_x[:, j], S)
        if (j + 1) % steps == 0:
            kept.append(S)
    return x[:, ::steps], torch.stack(kept, 1)


def slopes(y: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Derivatives of y, (..., d), by inputs (..., n), each row of y by its own row of inputs: shapes (..., d, n)."""
    if not y.requires_grad:
        return [v.new_zeros(*y.shape, v.shape[-1]) for v in inputs]
    rows = [torch.autograd.grad(c.sum(), inputs, retain_graph=True, materialize_grads=True) for c in y.unbind(-1)]
    return [torch.stack(parts, -2) for parts in zip(*rows, strict=True)]
