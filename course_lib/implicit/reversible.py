"""The reversible trapezoid: a net of trapezoidal layers trained in memory that does not grow with depth.

y = x + h/2 F(x) + h/2 F(y) is symmetric: with -h in place of h it leads from y to x, if that equation has no second
solution, as on skew fields, or where h/2 times F's Lipschitz constant is below 1. Only the last state is kept; the
backward pass solves its way back, layer by layer (Reshniak and Webster, arXiv 1905.10479, section 2.1). What the solver
leaves over is an error of the reconstructed states, and of the gradient.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .convergence import Convergence
from .differentiate import Problem, Record, Settings
from .equation import Equation
from .solvers import check_solver, find_root


class ReversibleTrapezoid(nn.Module):
    """Trapezoidal layers, one for each field, (batch, state...) to the same shape; keeps the last state alone.

    fields are modules F, which may repeat; h is the step size; solver, tol, max_iter and on_failure are as in
    ``find_root``. After a backward pass ``reconstructed`` holds the first state as found again.
    """

    def __init__(self, fields: Iterable[nn.Module], *, h: float, solver: str = "auto", tol: float | None = None,
                 max_iter: int | None = None, on_failure: str = "raise"):
        super().__init__()
        self.fields, self.h = nn.ModuleList(fields), h
        self.settings = Settings(check_solver(solver), "auto", tol, max_iter, on_failure)
        self.reconstructed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        return _Reversible.apply(self, x, *self.parameters())

    def step(self, F: nn.Module, x: Tensor, h: float) -> tuple[Tensor, Convergence]:
        """One trapezoidal step of size h, also backward in time; the state and how the solve went."""
        s = self.settings
        a = torch.as_tensor(h / 2, dtype=x.dtype, device=x.device)
        equation = Equation(F, x + a * F(x), a, jacobian=getattr(F, "jacobian", None))
        y, report = find_root(equation, x, solver=s.solver, tol=s.tol, max_iter=s.max_iter, on_failure=s.on_failure)
        return y, report


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx, net: ReversibleTrapezoid, x: Tensor, *parameters: Tensor) -> Tensor:
        for F in net.fields:
            x, _ = net.step(F, x, net.h)
        ctx.net, ctx.parameters = net, list(net.parameters())
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx, g: Tensor):
        net, (y,) = ctx.net, ctx.saved_tensors
        if any(now is not then for now, then in zip(net.parameters(), ctx.parameters, strict=True)):
            raise RuntimeError("fields: their parameters are not those of the forward pass, and the backward pass "
                               "evaluates them again; with functional_call use ThetaLayers.")
        half = net.h / 2
        index = {p: k for k, p in enumerate(net.parameters())}
        total: list[Tensor | None] = [None] * len(ctx.parameters)
        for F in reversed(net.fields):
            x, report = net.step(F, y, -net.h)
            weights = [p for p in F.parameters() if p.requires_grad]
            with torch.enable_grad():
                x, y = x.requires_grad_(), y.detach().requires_grad_()
                Fx, Fy = F(x), F(y)
            a = torch.as_tensor(half, dtype=y.dtype, device=y.device)
            problem = Problem(lambda ts, v, F=F: F(v), None, getattr(F, "jacobian", None), getattr(F, "vjp", None),
                              net.settings, 1, True, Record(report), graph=(y, Fy))
            u = problem.adjoint(problem.equation(y, a, ()), g)
            # allow_unused: a field may be constant in its state, or have parameters that it does not use.
            above = torch.autograd.grad(Fy, weights, half * u, allow_unused=True) if weights else ()
            below, *rest = torch.autograd.grad(Fx, [x, *weights], half * u, allow_unused=True)
            for p, *parts in zip(weights, above, rest, strict=True):
                for part in parts:
                    if part is not None:
                        k = index[p]
                        total[k] = part if total[k] is None else total[k] + part
            g = u if below is None else u + below
            y = x.detach()
        net.reconstructed = y
        return None, g, *total
