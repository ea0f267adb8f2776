"""The state of a run and what happens to it: steps, evaluation, saving, restoring."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from . import checkpoint as ckpt
from .device import Runtime
from .evaluation import counting, evaluate, evaluations
from .history import History, norm_is_due
from .objective import NonFiniteLoss, Objective, all_finite, met
from .stepper import Stepper

RANKS_APART = 1_000_003  # between the seeds of processes, whose shares of a batch are augmented apart


@dataclass
class Session:
    """One run of `fit`. `train()` does it all; everything that a checkpoint must hold is reachable from here."""

    run: Runtime
    objective: Objective  # the module whose weights are saved
    batches: object
    stepper: Stepper
    tests: dict[str, Callable]
    examined: object  # batches that the tests are measured on
    history: History
    epochs: int
    eval_every: int
    target: float | None
    monitor: str
    callback: Callable | None
    path: str | os.PathLike | None
    save_seconds: float
    deadline: float  # of time.monotonic(), to stop at
    settings: dict
    progress: object
    fabric: object
    seed: int
    epoch: int = 0  # epochs completed
    position: int = 0  # batches of the current epoch done
    partial: Tensor | None = None  # their losses
    clock: float = 0.0
    rng_start: dict = field(default_factory=dict)  # torch's random state when the current epoch began
    order_start: Tensor | None = None  # the same of the data order

    def __post_init__(self):
        self.counters = counting(self.objective)
        self.order = torch.Generator().manual_seed(self.seed)
        self.rank = 0 if self.fabric is None else self.fabric.global_rank
        self.noise = torch.Generator(self.run.device).manual_seed(self.seed + RANKS_APART * self.rank)
        self.saved_at = time.monotonic()

    def train(self) -> History:
        """Restore if there is a checkpoint, run to the end, and leave a final checkpoint."""
        self.objective.train()
        resumed = self.path is not None and os.path.exists(self.path)
        if self.path is not None and self.rank == 0:
            ckpt.clear_parts(self.path)
        if resumed:
            self.restore()
        elif self.path is not None:
            self.save()  # a folder that cannot be written to is found now, not after the first epoch
        if resumed and self.history.stopped in {"target", "callback"}:
            return self.history
        self.history.stopped = "epochs"
        if self.run.compile and self.epoch < self.epochs and (sample := self.batches.sample()) is not None:
            start = time.perf_counter()
            self.stepper.warm_up(*sample)
            self.history.compile_seconds += time.perf_counter() - start
        try:
            with ckpt.interruptible(self.deadline) as asked:
                while self.epoch < self.epochs and self.history.stopped == "epochs":
                    self.one_epoch(asked)
        finally:
            self.progress.close()
        if self.path is not None:
            self.save()
        return self.history

    def one_epoch(self, asked) -> None:
        self.run.reset_peak()
        start, device = time.perf_counter(), self.run.device
        if self.partial is None:
            if self.path is not None and len(self.batches) > 1:  # a checkpoint may have to be made inside the epoch
                self.rng_start, self.order_start = ckpt.random_state(device), self.order.get_state()
            self.partial, self.position = torch.zeros(len(self.batches), device=device), 0
        before = evaluations(self.counters)
        first, count = self.position, len(self.batches)
        measured = norm_is_due(self.epoch, self.epochs)
        for x, y in self.remaining():
            i = self.position
            last = i + 1 == count
            value, norm = self.stepper.step(x, y, (self.epoch + i / count) / self.epochs, measure=last and measured)
            self.partial[i] = value
            self.position += 1
            if device.type == "cpu" and not math.isfinite(value):
                self.fail(i)
            if asked.is_set() and not last and self.fabric is None:
                self.clock += time.perf_counter() - start
                self.history.stopped = "interrupted"
                return
        losses = self.partial if self.fabric is None else self.fabric.all_reduce(self.partial, reduce_op="mean")
        mean = losses.item() if count == 1 else losses.double().mean().item()  # on CUDA the only wait of the epoch
        if not math.isfinite(mean):
            self.fail(int((~torch.isfinite(losses)).nonzero()[0]))
        self.clock += time.perf_counter() - start
        steps = len(self.batches) - first
        counts = [(b - a) / steps for a, b in zip(before, evaluations(self.counters), strict=True)]
        self.record(mean, norm, counts, measured)
        if self.agreed(asked) and self.history.stopped == "epochs" and self.epoch < self.epochs:
            self.history.stopped = "interrupted"
        elif self.path is not None and time.monotonic() - self.saved_at >= self.save_seconds:
            self.save()

    def agreed(self, asked) -> bool:
        """Whether any process was asked to stop: all must stop at the same step, or they would wait for each other."""
        if self.fabric is None:
            return asked.is_set()
        mine = torch.tensor(float(asked.is_set()), device=self.run.device)
        return bool(self.fabric.all_reduce(mine, reduce_op="max"))

    def remaining(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The rest of the epoch's batches, the same ones as if the epoch had never been interrupted."""
        if self.position == 0:
            return self.batches.epoch(self.order, self.noise)
        now = ckpt.random_state(self.run.device)
        ckpt.set_random_state(self.rng_start, self.run.device)  # a shuffling loader draws its order from it
        self.order.set_state(self.order_start)
        rest = self.batches.epoch(self.order, self.noise, start=self.position)
        head = list(itertools.islice(rest, 1))
        ckpt.set_random_state(now, self.run.device)
        return itertools.chain(head, rest)

    def record(self, loss: float, norm, evaluations: list[float], measured: bool) -> None:
        """Close the epoch: evaluate, append to the history, and see whether to stop."""
        h = self.history
        self.epoch += 1
        self.partial, self.position = None, 0
        h.steps += len(self.batches)
        h.loss.append(loss)
        h.nfe_forward.append(evaluations[0])
        h.nfe_backward.append(evaluations[1])
        h.grad_norm.append(float(norm))
        h.lr.append(self.stepper.lr)
        h.seconds.append(self.clock)
        h.peak_memory.append(self.run.peak_memory() if measured or not h.peak_memory else h.peak_memory[-1])
        due = self.epoch % self.eval_every == 0 or self.epoch == self.epochs
        values = evaluate(self.objective.model, self.tests, self.examined, self.run) if due and self.tests else {}
        for name in self.tests:
            h.metrics[name].append(values.get(name, math.nan))
        self.stepper.end_epoch()
        if met(values.get(self.monitor, loss if self.monitor == "loss" else math.nan), self.target, self.monitor):
            h.reached, h.stopped = self.epoch, "target"
        if self.callback is not None and self.callback(self.objective.model, h):
            h.stopped = "callback"
        self.progress.show(self.epoch, {"loss": loss, **values})

    def fail(self, i: int) -> None:
        step = self.epoch * len(self.batches) + i + 1
        raise NonFiniteLoss("the loss", step=step, lr=self.stepper.lr, checkpoint=self.path)

    def save(self) -> None:
        """Write the checkpoint; weights that are not finite are never written over good ones."""
        if not all_finite(self.objective.parameters()):
            raise NonFiniteLoss("a weight", step=self.history.steps, lr=self.stepper.lr, checkpoint=self.path)
        if self.rank == 0:
            ckpt.save(
                self.path,
                {
                    "settings": self.settings,
                    "model": self.objective.state_dict(),
                    "stepper": self.stepper.state_dict(),
                    "history": asdict(self.history),
                    "epoch": self.epoch,
                    "position": self.position,
                    "partial": self.partial,
                    "clock": self.clock,
                    "rng_start": self.rng_start,
                    "order_start": self.order_start,
                    "order": self.order.get_state(),
                    "noise": self.noise.get_state(),
                    "rng": ckpt.random_state(self.run.device),
                },
            )
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        state = ckpt.load(self.path)
        ckpt.match(self.path, state["settings"], self.settings)
        self.objective.load_state_dict(state["model"])
        self.stepper.load_state_dict(state["stepper"])
        self.history.__dict__.update(state["history"])
        for name in ("epoch", "position", "clock", "rng_start", "order_start"):
            setattr(self, name, state[name])
        self.partial = None if state["partial"] is None else state["partial"].to(self.run.device)
        self.order.set_state(state["order"])
        if self.rank == 0:
            self.noise.set_state(state["noise"])
            ckpt.set_random_state(state["rng"], self.run.device)
        else:  # the file holds the first process's random states; the others must stay apart from it
            self.noise.manual_seed(self.seed + RANKS_APART * self.rank + self.epoch)
