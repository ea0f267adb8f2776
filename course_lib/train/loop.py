"""`fit`: the one training loop."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .batches import Augment, examined_batches, make_batches
from .device import runtime
from .history import History
from .objective import Objective, metric_functions, whole
from .optim import make_optimizer, make_schedule
from .progress import make_progress
from .session import RANKS_APART, Session
from .stepper import Stepper


def fit(
    model: nn.Module,
    data,
    loss: str | Callable[[Tensor, Tensor], Tensor] = "mse",
    *,
    seed: int,
    epochs: int,
    optimizer="adam",
    lr: float = 1e-3,
    options: dict | None = None,
    schedule=None,
    batch_size: int | None = None,
    drop_last: bool = False,
    augment: Augment | None = None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    clip: float | None = None,
    metrics=None,
    validation=None,
    eval_every: int = 1,
    target: float | None = None,
    monitor: str = "loss",
    callback: Callable[[nn.Module, History], bool | None] | None = None,
    checkpoint: str | os.PathLike | None = None,
    save_seconds: float = 30.0,
    deadline: float = math.inf,
    device: str | torch.device = "auto",
    precision: str = "auto",
    compile: bool | str = "auto",
    progress: bool | str = "auto",
    fabric=None,
) -> History:
    """Train ``model`` in place; return its ``History``.

    Parameters
    ----------
    model, data
        A module, and (x, y) tensors, which stay on the device, or a loader: anything with a length that yields (x, y).
    loss
        "mse", "smooth_l1", "cross_entropy", "bce" (logits), or a function (prediction, y) -> scalar.
    seed
        Of the data order, the augmentation and, inside the call, of torch's random state (dropout).
    optimizer, lr, options
        "sgd", "adam", "adamw", "rmsprop", "lbfgs", "lm" (Levenberg-Marquardt: loss "mse", full batch), a function
        params -> Optimizer, or an Optimizer; the rate and further arguments of the named ones.
    schedule
        "constant", "cosine", "triangle", a function share of training done -> factor on lr, taken at every step, or a
        torch LRScheduler on the optimizer given, stepped every epoch.
    batch_size, drop_last
        None for full batch (tensors); whether to leave out an incomplete last batch.
    augment
        Function (x, generator) -> x on a batch already on the device, such as ``Augmentation``.
    penalty, clip
        Function of the model, added to the loss; largest norm of the gradient.
    metrics, validation, eval_every
        "accuracy", a list of names, or name -> function(prediction, y); measured every ``eval_every`` epochs on
        ``validation`` (data like ``data``; called val_<name>, with val_loss), else on the training data.
    target, monitor
        Stop at the first epoch whose ``monitor`` is at most the target; at least, for an accuracy.
    callback
        Called as callback(model, history) after each epoch; returning True stops.
    checkpoint, save_seconds
        File to save to (at the end of an epoch when so many seconds have passed, and at the end) and to resume from if
        it is there: the run goes on bit for bit as if never stopped (CPU). Ctrl-C saves and returns what there is.
    deadline
        Of ``time.monotonic()``: stop there as Ctrl-C would.
    device, precision, compile
        "auto": CUDA with bfloat16 autocast and torch.compile (CUDA graphs) if there is one, else the CPU in float32,
        eager. Give drop_last=True where steps are compiled: each shape of batch is compiled apart.
    progress
        "auto": a bar in a terminal only; True: a bar in notebooks and lines in log files too; False.
    fabric
        A lightning Fabric, already launched: several processes share every batch (``course_lib.train.scale``).

    Raises
    ------
    NonFiniteLoss
        With step, learning rate and last good checkpoint.
    CheckpointError
        A checkpoint is damaged or another run's, or cannot be written, which is found before the first step.
    ValueError, TypeError
        Arguments that make no sense, by name.
    """
    whole(epochs=epochs, eval_every=eval_every)
    run = runtime(model, device=fabric.device if fabric else device, precision=precision, compile=compile)
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    batches = make_batches(
        data, run, batch_size=batch_size, drop_last=drop_last, augment=augment, rank=rank, world=world
    )
    if world > 1 and run.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # statistics of the whole batch; on CPUs of each share
    objective = run.place(Objective(model, loss, penalty))
    held = validation is not None
    tests = {f"val_{k}" if held else k: f for k, f in metric_functions(metrics).items()}
    if held:
        tests["val_loss"] = objective.loss
    if target is not None and monitor not in {"loss", *tests}:
        raise ValueError(f"monitor={monitor!r} is not measured: have loss, {', '.join(tests) or 'no metrics'}")
    opt = make_optimizer(optimizer, objective.parameters(), lr=lr, options=options)
    if optimizer == "lm" and (loss != "mse" or penalty is not None or clip is not None or len(batches) > 1):
        raise ValueError('optimizer="lm" is for least squares alone: loss="mse", full batch, no penalty, no clip')
    groups = repr([{k: v for k, v in group.items() if k != "params"} for group in opt.param_groups])
    stepping = make_schedule(schedule, opt)
    forward, kind = objective, type(opt).__name__
    if fabric:
        forward, opt = fabric.setup(objective, opt)
    if run.compile:
        forward = torch.compile(forward, mode="reduce-overhead" if run.graphs else "default")
    settings = {
        "seed": seed,
        "epochs": epochs,
        "batches": len(batches),
        "batch_size": batch_size,
        "lr": lr,
        "clip": clip,
        "optimizer": kind,
        "groups": groups,
        "loss": described(loss),
        "schedule": described(schedule),
        "target": target,
        "monitor": monitor,
        "shapes": {k: list(v.shape) for k, v in objective.state_dict().items()},
    }
    stepper = Stepper(forward, objective, opt, stepping, clip=clip, run=run, fabric=fabric)
    examined = examined_batches(validation if held else data, run) if tests else None
    with run.tuned(), torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed + RANKS_APART * rank)
        return Session(
            run,
            objective,
            batches,
            stepper,
            tests,
            examined,
            History(metrics={k: [] for k in tests}),
            epochs=epochs,
            eval_every=eval_every,
            target=target,
            monitor=monitor,
            callback=callback,
            path=None if checkpoint is None else os.fspath(checkpoint),
            save_seconds=save_seconds,
            deadline=deadline,
            settings=settings,
            progress=make_progress(progress if rank == 0 else False, epochs),
            fabric=fabric,
            seed=seed,
        ).train()


def described(thing) -> str:
    """What a checkpoint notes of an argument: a name as it is, of a function its name, of an object its kind."""
    return thing if isinstance(thing, str) else getattr(thing, "__qualname__", type(thing).__name__)
