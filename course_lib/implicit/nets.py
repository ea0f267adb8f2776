"""The paper's network, many runs at once, and their training: seeds, step sizes and θ side by side in one model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..train import fit
from .convergence import ConvergenceError
from .fields import SkewField
from .theta_layer import ThetaLayer

CEILING = 100.0  # a run whose loss passes this counts as diverged


def runs_of(**axes: Sequence[float]) -> dict[str, Tensor]:
    """Every combination of the values given, one run each: runs_of(seed=range(5), lr=(0.1, 1.0)) has ten runs."""
    grid = torch.cartesian_prod(*[torch.tensor(list(values), dtype=torch.float64) for values in axes.values()])
    return dict(zip(axes, grid.view(len(grid), -1).unbind(1), strict=True))


class ImplicitNet(nn.Module):
    """Dense -> L θ-layers with skew fields -> Dense (Reshniak and Webster, section 3), one net a run.

    Inputs are (batch, runs, n_in), outputs (batch, runs, n_out). Dense layers start as Glorot's uniform draw with
    zero biases; run i draws all its weights from the seed seeds[i], so runs of one seed start alike.

    theta: one number, or one a run. h: step size of every layer; T = depth · h is the time that the net spans.
    solver, tol, guess and gradient are ``ThetaLayer``'s; guess="last" speeds full-batch training up.

    A run that diverges is retired, so that the others go on: its weights are set to 0 and ``retired``, (runs,) bool,
    says so. That happens where a layer's equation cannot be solved for it, and where ``doom`` is called for it.
    """

    def __init__(self, n_in: int, width: int, depth: int, n_out: int, *, seeds: Sequence[int], h: float,
                 theta: float | Sequence[float] = 0.5, activation: str = "tanh", solver: str = "auto",
                 tol: float | None = None, guess: str = "x", gradient: str = "exact",
                 dtype: torch.dtype = torch.float32):
        super().__init__()
        seeds = [int(s) for s in seeds]
        one = not hasattr(theta, "__len__")
        theta = theta if one else torch.as_tensor(theta, dtype=dtype).view(-1, 1, 1)
        if not one and len(theta) not in (1, len(seeds)):
            raise ValueError(f"theta: expected one number, or {len(seeds)}, one a run, got {len(theta)}.")
        fields = [SkewField(width, activation=activation, runs=len(seeds), dtype=dtype) for _ in range(depth)]
        self.opening, self.opening_b = self._dense(len(seeds), n_in, width, dtype)
        self.head, self.head_b = self._dense(len(seeds), width, n_out, dtype)
        for run, seed in enumerate(seeds):
            draw = torch.Generator().manual_seed(seed)
            for weight, fans in ((self.opening, n_in + width), *((F.K, 2 * width) for F in fields),
                                 (self.head, width + n_out)):
                bound = math.sqrt(6 / fans)
                with torch.no_grad():
                    weight[run].uniform_(-bound, bound, generator=draw)
        self.retired = torch.zeros(len(seeds), dtype=torch.bool)
        self.layers = nn.ModuleList(
            ThetaLayer(F, h=h, theta=theta, solver=solver, tol=tol, guess=guess, gradient=gradient, sample_axes=2)
            for F in fields)

    @staticmethod
    def _dense(runs: int, n: int, m: int, dtype: torch.dtype) -> tuple[nn.Parameter, nn.Parameter]:
        return nn.Parameter(torch.empty(runs, n, m, dtype=dtype)), nn.Parameter(torch.zeros(runs, 1, m, dtype=dtype))

    def weights_per_run(self) -> int:
        """Numbers that one run trains."""
        return sum(p[0].numel() for p in self.parameters())

    def doom(self, runs: Tensor) -> None:
        """Retire these runs, (runs,) bool, at the next evaluation."""
        self.retired |= runs

    @torch.no_grad()
    def _retire(self) -> None:
        for p in self.parameters():
            p[self.retired] = 0.0

    def states(self, x: Tensor) -> list[Tensor]:
        """x_0, ..., x_L, each (runs, batch, width)."""
        path = [torch.baddbmm(self.opening_b, x.transpose(0, 1), self.opening)]
        for layer in self.layers:
            path.append(layer(path[-1]))
        return path

    def forward(self, x: Tensor) -> Tensor:
        while True:
            if self.retired.any():
                self._retire()
            try:
                return torch.baddbmm(self.head_b, self.states(x)[-1], self.head).transpose(0, 1)
            except ConvergenceError as error:
                self.doom(torch.zeros_like(self.retired).index_fill(0, error.report.failed[:, 0].unique(), True))


def smoothness(net: ImplicitNet) -> Tensor:
    """Σ ‖K_{l+1} - K_l‖² / h over neighbouring layers, one number a run: the paper's regulariser, as an integral.

    It approaches ∫ ‖K'(t)‖² dt, so that one weight means the same at every depth. With weight 0.001 it is the authors'
    (0.1 / L) Σ ‖K_{l+1} - K_l‖² at their L = 10, h = 0.1.
    """
    K = torch.stack([layer.F.K for layer in net.layers])
    return (K[1:] - K[:-1]).square().sum((0, 2, 3)) / net.layers[0].h


def train_runs(net: ImplicitNet, data: tuple[Tensor, Tensor], loss: Callable[[Tensor, Tensor], Tensor], *,
               epochs: int, lr: float | Sequence[float], validation: tuple[Tensor, Tensor], optimizer: str = "sgd",
               batch_size: int | None = None, smooth: float = 0.0, seed: int = 0,
               eval_every: int = 1) -> dict[str, Tensor]:
    """Train all runs of a net together with ``train.fit``; each is as if trained alone.

    Parameters
    ----------
    data, validation
        x (samples, runs, n_in) and y (samples, runs, n_out).
    loss
        (prediction, y), both (samples, runs, n_out) -> losses (runs,).
    lr
        One rate, or with optimizer="sgd" one a run.
    smooth
        Weight of ``smoothness`` in the loss.

    Returns
    -------
    dict
        "epoch" (evaluations,), and "train" and "validation", (runs, evaluations), losses after those epochs over all
        the data; "diverged", (runs,), bool: their losses are those of a net of zeros from then on.
    """
    runs = len(net.opening)
    rates = torch.as_tensor(lr, dtype=net.opening.dtype)
    if rates.numel() not in (1, runs):
        raise ValueError(f"lr: expected one rate, or {runs}, one a run, got {rates.numel()}.")
    rates = rates.expand(runs)
    if optimizer != "sgd" and len(rates.unique()) > 1:
        raise ValueError("lr: one rate a run is for optimizer='sgd' alone, where it scales the run's loss.")
    scale = rates if optimizer == "sgd" else torch.ones_like(rates)

    def total(prediction: Tensor, y: Tensor) -> Tensor:
        # Scaling a run's loss by its rate is plain SGD with that rate; a run that diverged has no part in the sum.
        losses = loss(prediction, y) + (smooth * smoothness(net) if smooth else 0)
        net.doom(~(losses.detach() <= CEILING))
        return (scale * torch.where(net.retired, torch.zeros_like(losses), losses)).sum()

    seen: dict[str, list] = {"epoch": [], "train": [], "validation": []}

    def measure(model: nn.Module, history) -> None:
        if history.epochs % eval_every == 0 or history.epochs == epochs:
            seen["epoch"].append(history.epochs)
            with torch.no_grad():
                for name, (x, y) in (("train", data), ("validation", validation)):
                    seen[name].append(loss(model(x), y))

    fit(net, data, total, seed=seed, epochs=epochs, optimizer=optimizer,
        lr=1.0 if optimizer == "sgd" else float(rates[0]), batch_size=batch_size, callback=measure, device="cpu",
        progress=False)
    result = {"epoch": torch.tensor(seen["epoch"])} | {k: torch.stack(seen[k], 1) for k in ("train", "validation")}
    return result | {"diverged": net.retired.clone()}
