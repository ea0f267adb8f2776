"""``NeuralODE``: the flow of a field as a layer, x(0) to x(T), with its solver and its gradient chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from course_lib.integrators.dopri5 import dopri5
from course_lib.integrators.errors import SolveError
from course_lib.integrators.inputs import check_times
from course_lib.integrators.solve import NAMED, find_method, repeat

GRADIENTS = ("direct", "adjoint", "discrete")
SOLVERS = ("own", "torchdiffeq")


class NFE(NamedTuple):
    """Evaluations of the field: in the forward pass, and again in the backward pass that followed it."""

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
    ):
        super().__init__()
        for name, value, known in (("gradient", gradient, GRADIENTS), ("solver", solver, SOLVERS)):
            if value not in known:
                raise ValueError(f"{name}: {value!r} is unknown; choose one of {', '.join(known)}.")
        if solver == "own" and method != "dopri5":
            find_method(method)
        if gradient == "discrete" and (solver != "own" or method == "dopri5"):
            raise ValueError('gradient: "discrete" needs solver="own" and a fixed-step method, such as "rk4".')
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise ValueError(f"steps: expected a whole number of at least 1, got {steps!r}.")
        self.field, self.t, self.method, self.steps = field, tuple(torch.as_tensor(t).tolist()), method, steps
        self.rtol, self.atol, self.eval_rtol, self.eval_atol = rtol, atol, eval_rtol, eval_atol
        self.gradient, self.solver, self.seminorm, self.checkpoints = gradient, solver, seminorm, checkpoints
        self.nfe, self.nfe_forward, self.nfe_backward = NFE(0, 0), 0, 0

    def forward(self, x0: Tensor, t: Tensor | Sequence[float] | None = None) -> Tensor:
        """Without t the last state, shape of x0; with times t, shape (n,), the trajectory, shape (n, \\*x0.shape)."""
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
        if self.solver == "torchdiffeq":
            return self.peer(x0, t)
        if self.method == "dopri5":
            solution = dopri5(self.field, x0, t, **self.tolerances())
            self.count(forward=solution.nfe)
            return solution.x
        states = repeat(find_method(self.method), self.field, x0, t, self.steps)
        self.count(forward=NAMED[self.method].stages * self.steps * (len(t) - 1))
        return torch.stack(states)

    def count(self, *, forward: int = 0, backward: int = 0) -> None:
        self.nfe = NFE(self.nfe.forward + forward, self.nfe.backward + backward)
        self.nfe_forward += forward
        self.nfe_backward += backward

    def peer(self, x0: Tensor, t: Tensor) -> Tensor:
        """The same by torchdiffeq."""
        counter = Counter(self.field)
        try:
            x = odeint(counter, x0, t, method=self.method, **self.tolerances())
        except AssertionError as error:  # torchdiffeq reports every failure of a solve by a bare assert
            raise SolveError(f"no solution up to t = {t[-1].item():g}: {error}") from error
        self.count(forward=counter.calls)
        return x


class Counter(nn.Module):
    """A field that counts its evaluations."""

    def __init__(self, field: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.field, self.calls = field, 0

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        return self.field(t, x)
