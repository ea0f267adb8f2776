"""The gradient of an implicitly defined state: one linear solve, and no graph through the solver.

If y = c + aF(y; w), differentiate both sides: (I - aJ) dy = dc + da F + a ∂F/∂w dw, with J = ∂F/∂y at the solution.
A loss with gradient g with respect to y therefore has, with u = (I - aJ)⁻ᵀ g,
    gradient u for c,  ⟨u, F(y)⟩ for a,  (a ∂F/∂w)ᵀ u for the parameters w.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from .convergence import Convergence, settle
from .equation import Equation
from .linear import gcr, neumann
from .solvers import find_root

# How the transposed system is solved after each forward solver, unless the caller says otherwise.
BACKWARD = {"fixed_point": "neumann", "anderson": "gcr", "newton": "dense", "newton_krylov": "gcr",
            "gradient_descent": "gcr"}
SMALL = 8  # up to this width a dense solve with a given Jacobian costs less than a few products with it
LINEAR = ("auto", "dense", "neumann", "gcr")


@dataclass
class Settings:
    """How to solve, forward and backward; the names are ``ThetaLayer``'s."""

    solver: str = "auto"
    backward: str = "auto"
    tol: float | None = None
    max_iter: int | None = None
    on_failure: str = "raise"


@dataclass
class Record:
    """What a solve leaves behind for its layer: reports, and the solution (None under vmap). Holds no graph."""

    report: Convergence | None = None
    backward_report: Convergence | None = None
    solution: Tensor | None = None


@dataclass
class Problem:
    """One solve of y = c + aF(y; tensors): what the autograd function below needs besides its tensors.

    call and functional both evaluate F(y; tensors); call may take it that F holds these very tensors, and is faster.
    """

    call: Callable[[Sequence[Tensor], Tensor], Tensor]
    functional: Callable[[Sequence[Tensor], Tensor], Tensor] | None
    jacobian: Callable[[Tensor, Tensor], Tensor] | None
    vjp: Callable[[Tensor, Tensor], Callable] | None
    settings: Settings
    sample_axes: int
    needs_graph: bool
    record: Record = field(default_factory=Record)
    graph: tuple[Tensor, Tensor] | None = None

    def equation(self, c: Tensor, a: Tensor, tensors: Sequence[Tensor]) -> Equation:
        return Equation(lambda y: self.call(tensors, y), c, a, sample_axes=self.sample_axes,
                        jacobian=self.jacobian, vjp=self.vjp)

    def adjoint(self, equation: Equation, g: Tensor) -> Tensor:
        """u = (I - aJ)⁻ᵀ g at the solution, to the forward tolerance; raises or warns if it does not converge."""
        y, Fy = self.graph
        report, s = self.record.report, self.settings
        how = BACKWARD[report.solver] if s.backward == "auto" else s.backward
        if s.backward == "auto" and self.jacobian is not None and equation.width <= SMALL:
            how = "dense"
        if how == "dense":
            A = equation.matrix(y.detach(), Fy.detach())
            rhs = g.flatten(self.sample_axes).unsqueeze(-1)
            u = torch.linalg.solve_ex(A.mT, rhs)[0].view(g.shape)
            result = (u, 1, 0 * equation.norm(u))  # NaN where the matrix was singular
        elif how == "neumann":
            result = neumann(equation.transposed(y, Fy), g, tol=report.tol, max_iter=500, sample_axes=self.sample_axes)
        else:
            times = equation.transposed(y, Fy)
            result = gcr(lambda v: v - times(v), g, tol=report.tol, max_iter=200, sample_axes=self.sample_axes)
        u, iterations, residuals = result
        self.record.backward_report = Convergence(how, iterations, residuals, report.tol, equation.evaluations)
        hint = "The gradient is unreliable: use backward='dense' or a smaller h."
        settle(self.record.backward_report, s.on_failure, hint)
        return u


class ImplicitState(torch.autograd.Function):
    """(c, a, first guess, tensors of F) -> y with y = c + aF(y). Differentiable in c, a and the tensors, once."""

    @staticmethod
    def forward(problem: Problem, c: Tensor, a: Tensor, guess: Tensor, *tensors: Tensor) -> Tensor:
        s = problem.settings
        equation = problem.equation(c, a, tensors)
        y, report = find_root(equation, guess, solver=s.solver, tol=s.tol, max_iter=s.max_iter, on_failure=s.on_failure)
        problem.record.report = report
        problem.record.solution = None if problem.call is problem.functional else y.detach()
        if problem.needs_graph:
            # One evaluation with a graph, at the solution: all that the backward pass differentiates through.
            with torch.enable_grad():
                at = y.detach().requires_grad_()
                problem.graph = (at, problem.call(tensors, at))
        return y

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.problem, c, a, _, *tensors = inputs
        ctx.save_for_backward(c, a, *tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx, g: Tensor):
        c, a, *tensors = ctx.saved_tensors
        _, Fy = ctx.problem.graph
        u = ctx.problem.adjoint(ctx.problem.equation(c, a, tensors), g)
        wanted = [t for t, need in zip(tensors, ctx.needs_input_grad[4:], strict=True) if need]
        found = iter(torch.autograd.grad(Fy, wanted, a * u, retain_graph=True, allow_unused=True) if wanted else ())
        grads = [next(found) if need else None for need in ctx.needs_input_grad[4:]]
        grad_a = (u * Fy.detach()).sum_to_size(a.shape) if ctx.needs_input_grad[2] else None
        return None, u, grad_a, None, *grads

    @staticmethod
    def vmap(info, in_dims, problem: Problem, c: Tensor, a: Tensor, guess: Tensor, *tensors: Tensor):
        """Under ``torch.func.vmap`` the mapped axis becomes one more sample axis, solved together with the others."""
        dims = in_dims[4:]

        def front(t: Tensor, dim: int | None) -> Tensor:
            return t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)

        states = c.ndim - (in_dims[1] is not None)
        a = front(a, in_dims[2])
        a = a.reshape(len(a), *[1] * (states - a.ndim + 1), *a.shape[1:])

        def functional(ts: Sequence[Tensor], y: Tensor) -> Tensor:
            return torch.vmap(problem.functional, in_dims=(tuple(dims), 0))(tuple(ts), y)

        # What requires a gradient is known of the tensors themselves alone, not of vmap's wrappers around them.
        needs = torch.is_grad_enabled() and any(t.requires_grad for t in (c, a, *tensors))
        axes = problem.sample_axes + 1
        mapped = Problem(functional, functional, None, None, problem.settings, axes, needs, problem.record)
        states = [front(t, d).contiguous() for t, d in ((c, in_dims[1]), (guess, in_dims[3]))]
        return ImplicitState.apply(mapped, states[0], a, states[1], *tensors), 0


def implicit_state(F: nn.Module, c: Tensor, a: Tensor, guess: Tensor, *, settings: Settings, sample_axes: int = 1,
                   gradient: str = "exact") -> tuple[Tensor, Record]:
    """Solve y = c + aF(y) and attach its gradient: "exact", or one of the two wrong ones, "listing" and "phantom".

    listing  stops the gradient at aF(y) as a whole, then solves the linear system: c's gradient is right, that of a
             and of F's parameters is missing
    phantom  differentiates one application of c + aF(y) with y held: no linear solve, every gradient is off
    """
    state = dict(F.named_parameters()) | dict(F.named_buffers())
    names, tensors = list(state), tuple(state.values())

    def functional(ts: Sequence[Tensor], y: Tensor) -> Tensor:
        return functional_call(F, dict(zip(names, ts, strict=True)), (y,))

    held, scale, right = tensors, a, c.detach() if gradient == "phantom" else c
    if gradient != "exact":
        held, scale = tuple(t.detach() for t in tensors), a.detach()
    needs = torch.is_grad_enabled() and any(t.requires_grad for t in (right, scale, *held))
    problem = Problem(lambda ts, y: F(y), functional, getattr(F, "jacobian", None), getattr(F, "vjp", None),
                      settings, sample_axes, needs)
    y = ImplicitState.apply(problem, right, scale, guess, *held)
    return (c + a * F(y.detach()) if gradient == "phantom" else y), problem.record
