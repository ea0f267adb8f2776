"""One optimizer step, with its learning rate, clipping and gradient norm."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from .checkpoint import random_state, set_random_state
from .device import Runtime
from .lm import LevenbergMarquardt
from .objective import Objective
from .optim import Schedule, constant

TRIES = 4  # of an L-BFGS step


class Step(NamedTuple):
    """loss before the update, detached, on the device; norm of the gradient before clipping (NaN: not measured)."""

    loss: Tensor
    norm: Tensor | float


class Stepper:
    """Steps an optimizer on an objective. `forward` is the objective as it is run: compiled, or wrapped for DDP."""

    def __init__(
        self,
        forward,
        objective: Objective,
        opt,
        schedule: Schedule | LRScheduler,
        *,
        clip: float | None,
        run: Runtime,
        fabric=None,
    ):
        self.forward, self.objective, self.opt = forward, objective, opt
        self.clip, self.run, self.fabric = clip, run, fabric
        self.scheduler = schedule if isinstance(schedule, LRScheduler) else None
        self.factor = None if self.scheduler or schedule is constant else schedule
        self.base = [group["lr"] for group in opt.param_groups]
        self.params = [p for p in objective.parameters() if p.requires_grad]
        plain = getattr(opt, "optimizer", opt)  # Fabric wraps it
        self.least_squares = isinstance(plain, LevenbergMarquardt)
        self.closure = isinstance(plain, torch.optim.LBFGS)

    @property
    def lr(self) -> float:
        return float(self.opt.param_groups[0]["lr"])

    def step(self, x: Tensor, y: Tensor, done: float, *, measure: bool) -> Step:
        """One step on a batch. done: share of training completed; measure: return the gradient's norm."""
        if self.factor is not None:
            factor = self.factor(done)
            for group, lr in zip(self.opt.param_groups, self.base, strict=True):
                group["lr"] = lr * factor
        if self.least_squares:
            return Step(*self.opt.step(self.objective.model, x, y))
        if self.closure:
            return self._closure_step(x, y)
        loss = self._backward(x, y)
        norm = math.nan
        if self.clip is not None:
            norm = self._clip()
        elif measure:
            norm = torch.cat([p.grad.reshape(-1) for p in self.params if p.grad is not None]).norm()
        self.opt.step()
        return Step(loss, norm)

    def warm_up(self, x: Tensor, y: Tensor) -> None:
        """Let torch.compile do its work on a batch of this shape; weights, buffers, random state stay as they were."""
        kept, state = [b.clone() for b in self.objective.buffers()], random_state(self.run.device)
        for _ in range(3):  # CUDA graphs: compile, record, replay
            self._backward(x, y)
        for buffer, old in zip(self.objective.buffers(), kept, strict=True):
            buffer.copy_(old)
        for p in self.params:
            p.grad = None
        set_random_state(state, self.run.device)
        if self.run.device.type == "cuda":
            torch.cuda.synchronize(self.run.device)

    def end_epoch(self) -> None:
        if self.scheduler is not None:
            self.scheduler.step()

    def state_dict(self) -> dict:
        scheduler = None if self.scheduler is None else self.scheduler.state_dict()
        return {"optimizer": self.opt.state_dict(), "scheduler": scheduler}

    def load_state_dict(self, state: dict) -> None:
        self.opt.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])

    def _backward(self, x: Tensor, y: Tensor) -> Tensor:
        for p in self.params:  # zero_grad does the same with some twenty microseconds of bookkeeping
            p.grad = None
        if self.run.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with self.run.cast():
            loss = self.forward(x, y)
        if self.fabric is None:
            loss.backward()
        else:
            self.fabric.backward(loss)
        return loss.detach()

    def _clip(self) -> Tensor:
        grads = [p.grad for p in self.params if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.params, self.clip, norm)
        return norm

    def _closure_step(self, x: Tensor, y: Tensor) -> Step:
        """L-BFGS asks for the loss many times. A step to where the loss is not finite is taken back, its memory
        forgotten, and tried with a tenth of the rate, and so on, `TRIES` times."""
        seen: list[tuple[Tensor, Tensor]] = []

        def closure() -> Tensor:
            loss = self._backward(x, y)
            seen.append((loss, self._clip()))
            return loss

        before = [p.detach().clone() for p in self.params]
        for _ in range(TRIES):
            self.opt.step(closure)
            with torch.no_grad(), self.run.cast():
                if torch.isfinite(self.forward(x, y)):
                    break
                for p, old in zip(self.params, before, strict=True):
                    p.copy_(old)
            self.opt.state.clear()
            for group in self.opt.param_groups:
                group["lr"] /= 10
        return Step(*seen[0])
