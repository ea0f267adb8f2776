"""What a training run leaves behind: plain numbers, ready for JSON and for `course_lib.plots`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass
class History:
    """One run; every list has one entry an epoch.

    Attributes
    ----------
    loss
        Mean of the training loss over the epoch's batches, each taken before its update.
    metrics
        Name -> values after the epoch (NaN where ``eval_every`` skipped it); ``val_`` marks held-out data.
    nfe_forward, nfe_backward
        Function evaluations a step, mean over the epoch; 0 for models that count none.
    grad_norm
        Euclidean norm of the gradient at the epoch's last step, before clipping: at every epoch, or, in runs of more
        than 100, at some 30 of them and NaN between.
    lr
        Learning rate of the epoch's last step.
    seconds
        Training time since the start, evaluation left out, resumed parts added up.
    peak_memory
        MiB: on CUDA the most that tensors held, on a CPU the most that the process held.
    steps
        Optimizer steps done.
    compile_seconds
        What torch.compile took before the first step; not in ``seconds``.
    stopped
        "epochs", "target", "callback", or "interrupted" (Ctrl-C, deadline).
    reached
        The epoch (counted from 1) at which ``monitor`` first met the target, or None.
    """

    loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    nfe_forward: list[float] = field(default_factory=list)
    nfe_backward: list[float] = field(default_factory=list)
    grad_norm: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    peak_memory: list[float] = field(default_factory=list)
    steps: int = 0
    compile_seconds: float = 0.0
    stopped: str = "epochs"
    reached: int | None = None

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return len(self.loss)

    def to_dict(self) -> dict:
        """A dictionary that JSON can hold: a number that is not finite becomes None."""
        return _tidy(asdict(self))

    @classmethod
    def from_dict(cls, plain: dict) -> History:
        """The inverse of `to_dict`; None inside a list becomes NaN again."""
        return cls(**{k: _untidy(v) if isinstance(v, list | dict) else v for k, v in plain.items()})


@dataclass
class SeedHistory:
    """Many runs at once; arrays are (seeds, epochs), NaN after the epoch at which a seed met its target.

    Fields are those of ``History``, but: ``nfe_forward`` is 0 for models that count none; ``lr`` and ``seconds`` are
    (epochs,), shared by all seeds; ``reached`` is
    (seeds,), NaN where the target was not met; ``diverged`` is (seeds,), true where the loss stopped being finite.
    ``history[i]`` is the ``History`` of seed i.
    """

    seeds: list[int]
    loss: np.ndarray
    metrics: dict[str, np.ndarray]
    nfe_forward: np.ndarray
    grad_norm: np.ndarray
    lr: np.ndarray
    seconds: np.ndarray
    reached: np.ndarray
    diverged: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, i: int) -> History:
        reached = None if math.isnan(self.reached[i]) else int(self.reached[i])
        n = self.loss.shape[1] if reached is None else reached
        return History(
            loss=self.loss[i, :n].tolist(),
            metrics={name: values[i, :n].tolist() for name, values in self.metrics.items()},
            nfe_forward=self.nfe_forward[i, :n].tolist(),
            nfe_backward=[0.0] * n,
            grad_norm=self.grad_norm[i, :n].tolist(),
            lr=self.lr[:n].tolist(),
            seconds=self.seconds[:n].tolist(),
            peak_memory=[math.nan] * n,
            stopped="epochs" if reached is None else "target",
            reached=reached,
        )


def norm_is_due(epoch: int, epochs: int) -> bool:
    """Whether to measure the gradient's norm in this epoch, counted from 0: it would cost a small net a tenth."""
    return epoch % (1 if epochs <= 100 else epochs // 30) == 0 or epoch + 1 == epochs


def _tidy(value):
    if isinstance(value, dict):
        return {k: _tidy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_tidy(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _untidy(value):
    if isinstance(value, dict):
        return {k: _untidy(v) for k, v in value.items()}
    return [math.nan if v is None else v for v in value]
