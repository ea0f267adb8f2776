"""Deep equilibrium layers: y = c(x) + F(y), a layer without x + ... (Bai, Kolter and Koltun, arXiv 1909.01377)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .convergence import Convergence
from .differentiate import Record, Settings, implicit_state
from .solvers import check_solver


class EquilibriumLayer(nn.Module):
    """The y with y = inject(x) + F(y), started from 0, differentiated by one linear solve.

    inject is a module from inputs (batch, ...) to states (batch, state...), the identity unless given; F maps states to
    states. This is the equation of ``ThetaLayer`` with a = 1. Solver options as there; "anderson" is customary.
    """

    def __init__(self, F: nn.Module, *, inject: nn.Module | None = None, solver: str = "anderson",
                 backward: str = "auto", tol: float | None = None, max_iter: int | None = None,
                 on_failure: str = "raise"):
        super().__init__()
        self.F, self.inject = F, inject or nn.Identity()
        self.settings = Settings(check_solver(solver), backward, tol, max_iter, on_failure)
        self._record = Record()

    @property
    def report(self) -> Convergence | None:
        return self._record.report

    def forward(self, x: Tensor) -> Tensor:
        c = self.inject(x)
        one = torch.ones((), dtype=c.dtype, device=c.device)
        y, self._record = implicit_state(self.F, c, one, torch.zeros_like(c), settings=self.settings)
        return y


def jacobian_penalty(F: nn.Module, y: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Hutchinson's estimate of ‖∂F/∂y‖² (Frobenius) a sample and a component, from one random vector; has a graph.

    Added to a loss it keeps the equilibrium easy to find (Bai, Koltun and Kolter, arXiv 2106.14342, equation 7).
    """
    v = torch.randn(y.shape, generator=generator, dtype=y.dtype).to(y.device)
    if not y.requires_grad:
        y = y.detach().requires_grad_()
    row = torch.autograd.grad(F(y), y, v, create_graph=True)[0]
    return row.square().sum() / y.numel()
