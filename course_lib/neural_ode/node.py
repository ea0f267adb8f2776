"""``NeuralODE``: the flow of a field as a layer, x(0) to x(T), with its solver and its gradient chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from course_lib.integrators.dopri5 import dopri5
from course_lib.integrators.errors import SolveError
from course_lib.integrators.inputs import check_kind, check_steps, check_times
from course_lib.integrators.solve import find_method, repeat

from .adjoint import Count, adjoint, need_explicit
from .discrete import discrete_adjoint

GRADIENTS = ("direct", "adjoint", "discrete")
SOLVERS = ("own", "torchdiffeq")
ADAPTIVE = ("dopri8", "dopri5", "bosh3", "fehlberg2", "adaptive_heun")  # of torchdiffeq's methods


class NFE(NamedTuple):
    """Evaluations of the field: in the forward pass, and again in the backward pass that followed it.

    Those by which an implicit method solves for its step are not counted, its stages alone are.
    """

    forward: int
    backward: int


class NeuralODE(nn.Module):
    """The state at the end of x' = field(t, x), x(t[0]) = x0, or its states at given times.

    Parameters
    ----------
    field
        A module called as ``field(t, x)`` with t a 0-d tensor and x batch-first; returns dx/dt of x's shape.
    t
        Times to integrate over where ``forward`` is given none: the first is where x0 stands, the last the end.
    method
        "dopri5", or a fixed-step method of ``course_lib.integrators`` with ``steps`` equal steps between neighbouring
        times. With ``solver="torchdiffeq"`` any of its methods; fixed-step ones take ``steps`` too.
    rtol, atol
        Tolerances of an adaptive method.
    gradient
        "direct": backpropagation through the solver's steps. "adjoint": the continuous adjoint equation, solved
        backward. "discrete": for a fixed-step method, the gradient of "direct" at less memory, by checkpoints.
    solver
        "own": this library's. "torchdiffeq": that package's ``odeint`` and ``odeint_adjoint``.
    seminorm
        With "adjoint": leave the parameters' gradient out of the backward solve's error norm.
    eval_rtol, eval_atol
        Tolerances in evaluation mode (``.eval()``); those of training unless given.
    checkpoints
        With "discrete": states kept in the forward pass, see ``discrete_adjoint``.
    max_steps
        Most steps of an adaptive method (torchdiffeq: between two neighbouring times).

    Attributes
    ----------
    nfe
        ``NFE`` of the last call; a backward pass adds to it.
    nfe_forward, nfe_backward
        Evaluations in all calls so far: what the trainer's history counts by.

    Raises
    ------
    SolveError
        On a call: the solver found no solution. With a fixed-step method a blow-up is not an error: look at the loss.
    """

    def __init__(
        self, field: nn.Module, *, t: Sequence[float] | Tensor = (0.0, 1.0), method: str = "dopri5", rtol: float = 1e-3,
        atol: float = 1e-3, steps: int = 10, gradient: str = "direct", solver: str = "own", seminorm: bool = False,
        eval_rtol: float | None = None, eval_atol: float | None = None, checkpoints: int | str | None = None,
        max_steps: int = 1000,
    ):
        super().__init__()
        for name, value, known in (("gradient", gradient, GRADIENTS), ("solver", solver, SOLVERS)):
            if value not in known:
                raise ValueError(f"{name}: {value!r} is unknown; choose one of {', '.join(known)}.")
        if solver == "own" and method != "dopri5":
            find_method(method)
            if gradient == "adjoint":
                need_explicit(method)
        if gradient == "discrete" and (solver != "own" or method == "dopri5"):
            raise ValueError('gradient: "discrete" needs solver="own" and a fixed-step method, such as "rk4".')
        self.t = tuple(check_times(t, torch.empty(0, dtype=torch.float64)).tolist())
        self.field, self.method, self.steps = field, method, check_steps(steps)
        self.rtol, self.atol, self.eval_rtol, self.eval_atol = rtol, atol, eval_rtol, eval_atol
        self.gradient, self.solver, self.seminorm, self.checkpoints = gradient, solver, seminorm, checkpoints
        self.max_steps = max_steps
        self.nfe, self.nfe_forward, self.nfe_backward = NFE(0, 0), 0, 0

    def forward(self, x0: Tensor, t: Tensor | Sequence[float] | None = None) -> Tensor:
        """Without t the last state, shape of x0; with times t, shape (n,), the trajectory, shape (n, \\*x0.shape)."""
        check_kind(x0)
        self.nfe = NFE(0, 0)
        times = check_times(self.t if t is None else t, x0)
        x = self.integrate(x0, times)
        return x[-1] if t is None else x

    def tolerances(self) -> dict[str, float]:
        rtol, atol = self.rtol, self.atol
        if not self.training:
            rtol = rtol if self.eval_rtol is None else self.eval_rtol
            atol = atol if self.eval_atol is None else self.eval_atol
        return {"rtol": rtol, "atol": atol}

    def integrate(self, x0: Tensor, t: Tensor) -> Tensor:
        """The trajectory, by the solver and with the gradient that were chosen."""
        counts = {"forward": lambda n: self.count(forward=n), "backward": lambda n: self.count(backward=n)}
        if self.solver == "torchdiffeq":
            return by_torchdiffeq(self, x0, t, **counts)
        if self.gradient == "discrete":
            return discrete_adjoint(self.field, x0, t, method=self.method, steps=self.steps,
                                    checkpoints=self.checkpoints, **counts)
        if self.gradient == "adjoint":
            return adjoint(self.field, x0, t, method=self.method, steps=self.steps, **self.tolerances(),
                           max_steps=self.max_steps, seminorm=self.seminorm, **counts)
        if self.method == "dopri5":
            solution = dopri5(self.field, x0, t, **self.tolerances(), max_steps=self.max_steps)
            self.count(forward=solution.nfe)
            return solution.x
        rule = find_method(self.method)
        states = repeat(rule, self.field, x0, t, self.steps)
        self.count(forward=rule.stages * self.steps * (len(t) - 1))
        return torch.stack(states)

    def count(self, *, forward: int = 0, backward: int = 0) -> None:
        self.nfe = NFE(self.nfe.forward + forward, self.nfe.backward + backward)
        self.nfe_forward += forward
        self.nfe_backward += backward


def by_torchdiffeq(node: NeuralODE, x0: Tensor, t: Tensor, forward: Count, backward: Count) -> Tensor:
    """The same by torchdiffeq's ``odeint`` or ``odeint_adjoint``."""
    def grid(f: object, x: Tensor, t: Tensor) -> Tensor:
        share = torch.arange(node.steps, dtype=t.dtype, device=t.device) / node.steps
        return torch.cat(((t[:-1, None] + share * t.diff()[:, None]).flatten(), t[-1:]))

    field = Counter(node.field, forward)
    options = {"max_num_steps": node.max_steps} if node.method in ADAPTIVE else {"grid_constructor": grid}
    arguments = {"method": node.method, **node.tolerances(), "options": options}
    if node.gradient == "adjoint" and node.seminorm:
        arguments["adjoint_options"] = {**options, "norm": "seminorm"}
    try:
        x = (odeint_adjoint if node.gradient == "adjoint" else odeint)(field, x0, t, **arguments)
    except AssertionError as error:  # torchdiffeq reports every failure of a solve by a bare assert
        raise SolveError(f"no solution up to t = {t[-1].item():g}: {error}") from error
    field.count = backward
    return x


class Counter(nn.Module):
    """A field that tells how often it is evaluated: count(1) at every evaluation."""

    def __init__(self, field: nn.Module, count: Count):
        super().__init__()
        self.field, self.count = field, count

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        self.count(1)
        return self.field(t, x)
