"""Solutions of x' = f(t, x; p) and their derivatives by the parameters, through torchdiffeq.

A *model* is a function of the parameters: ``model(p) -> (f, x0)``, p of shape (..., n), x0 of shape (..., d), and f a
field for states of x0's shape. It must treat leading axes as a batch: that is how all n derivatives are had at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torchdiffeq import odeint

from course_lib.integrators.errors import SolveError
from course_lib.integrators.explicit import Field

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
