"""Neural ODEs on Lotka–Volterra: a forecast of the pelts that counts, and series of which most points are missing.

task "forecast": fit hare and lynx of 1900 to 1913, predict 1914 to 1920. Width and weight decay are those whose median
seed predicts 1911 to 1913 best from 1900 to 1910; the test years have no part in it. task "gaps": the system simulated
with alpha 1.5, beta 1, gamma 3, delta 1 from (1, 1) over [0, 10], 101 observations with lognormal noise of 0.1, of
which a share is dropped, other ones for every seed; the error is taken against the solution without noise, inside the
window and for a period after it, beside linear and cubic interpolation of the logarithms that are left.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from ..data import pelts
from ..dynamics import LotkaVolterra
from ..integrators import solve
from ..neural_ode.structured import PreyPredator, Unstructured
from ..records import Run
from .base import Recipe, Setup, parameters, setting
from .lotka_runs import Trained, median, rms, rollout, shoot


@dataclass(frozen=True)
class Config:
    """Defaults: the recorded forecast by a neural ODE."""

    task: str = setting("forecast", "forecast: the pelts of 1914 to 1920; gaps: a simulated series with points missing")
    model: str = setting("node", "node: a net as the field of the logarithms; ude: known linear parts and a net")
    widths: tuple[int, ...] = setting((2, 4, 8, 16), "hidden units to choose from")
    decays: tuple[float, ...] = setting((1e-4, 1e-3, 1e-2, 1e-1), "weight decays to choose from")
    years: int = setting(14, "of the pelts to fit, from 1900 on")
    held_out: int = setting(3, "of these years, the last, for the choice")
    drop: float = setting(0.0, "share of the simulated points that is dropped")
    noise: float = setting(0.1, "standard deviation of the simulated logarithms")
    epochs: int = setting(600, "of shooting")
    polish: int = setting(150, "epochs after it, on the rollout over all years")
    group: int = setting(3, "gaps a segment")
    lr: float = setting(0.03, "rate of Adam; a fifth of it to polish")
    step: float = setting(1.0, "longest step of RK4: a year, or units of the simulated time")


class Logs(NamedTuple):
    """Logarithms (n, 2) at the times t (n,), and what they are called."""

    t: Tensor
    logs: Tensor
    name: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the numbers."""
        return hashlib.sha256(self.t.numpy().tobytes() + self.logs.numpy().tobytes()).hexdigest()


def load(config: Config, setup: Setup) -> Logs:
    if config.task == "forecast":
        series = pelts()
        return Logs(series.t, series.counts.log(), "Hudson's Bay pelts, 1900 to 1920")
    if config.task != "gaps":
        raise ValueError(f"task={config.task!r} is unknown: give forecast or gaps")
    t = torch.linspace(0, 13.3, 134, dtype=torch.float64)
    x = solve(LotkaVolterra(1.5, 1.0, 3.0, 1.0), torch.ones(2, dtype=torch.float64), t, method="rk4", steps=20)
    return Logs(t, x.log(), "Lotka–Volterra, simulated, alpha 1.5, beta 1, gamma 3, delta 1 from (1, 1)")


class Forecaster(NamedTuple):
    """Fields of several seeds and the starts of their solutions; mean and scale undo the standardising."""

    field: nn.Module
    mean: Tensor
    scale: Tensor
    trained: Trained

    def __call__(self, t: Tensor) -> Tensor:
        """Logarithms at the times t, (n,), shape (n, seeds, 2), from the start at t[0]."""
        return rollout(self.field, self.trained.x0, t.float()) * self.scale + self.mean


def fit(
    config: Config, t: Tensor, logs: Tensor, *, width: int, decay: Tensor | float, seeds: list[int],
    watch: Callable[[Tensor], Tensor] | None = None, ahead: Tensor | None = None,
) -> Forecaster:
    """Shooting, then the rollout over all times: fields of all seeds for t (n, seeds), logs (n, seeds, 2).

    watch: of the logarithms predicted at the times `ahead`, the (seeds,) to be recorded in the history.
    """
    if config.model not in ("node", "ude"):
        raise ValueError(f"model={config.model!r} is unknown: give node or ude")
    mean, scale = logs.mean((0, 1)), logs.std((0, 1))
    if config.model == "node":
        field = Unstructured(2, width, seeds=seeds)
    else:
        rate = 0.6 if config.task == "forecast" else 2.0  # a period of about 2 pi / rate
        field = PreyPredator(mean, scale, width, rates=(rate, rate), learn_rates=True, seeds=seeds)
    data, t = ((logs - mean) / scale).float(), t.float()

    def seen(field: nn.Module, x0: Tensor) -> Tensor:
        return watch(rollout(field, x0, ahead.float(), steps=1) * scale + mean)

    steps = math.ceil(t.diff(dim=0).max().item() / config.step - 1e-6)
    options = {"decay": decay, "steps": steps, "watch": None if watch is None else seen}
    first = shoot(field, t, data, group=config.group, epochs=config.epochs, lr=config.lr, **options)
    if not config.polish:
        return Forecaster(field, mean, scale, first)
    last = shoot(field, t, data, group=None, epochs=config.polish, lr=config.lr / 5, x0=first.x0, **options)
    return Forecaster(field, mean, scale, first.then(last))


def choose(config: Config, data: Logs, seeds: list[int]) -> dict[tuple[int, float], list[float]]:
    """(width, decay) -> error of each seed in the years held out, in the order of the widths, then of the decays."""
    early = config.years - config.held_out
    many, found = [*seeds] * len(config.decays), {}
    decay = torch.tensor(config.decays).repeat_interleave(len(seeds))
    for width in config.widths:
        t, logs = (v[:early].unsqueeze(1) for v in (data.t, data.logs))
        forecast = fit(
            config, t.expand(-1, len(many)), logs.expand(-1, len(many), -1), width=width, decay=decay, seeds=many
        )
        error = rms((forecast(data.t[: config.years]) - data.logs[: config.years].unsqueeze(1))[early:])
        for value, row in zip(config.decays, error.view(-1, len(seeds)), strict=True):
            found[width, value] = row.tolist()
    return found


def run_forecast(config: Config, data: Logs, seeds: list[int]) -> Iterator[Run]:
    errors = choose(config, data, seeds)
    width, decay = min(errors, key=lambda key: median(errors[key]))
    n = config.years
    target = data.logs.unsqueeze(1)
    t, logs = data.t[:n, None].expand(-1, len(seeds)), target[:n].expand(-1, len(seeds), -1)
    forecast = fit(
        config, t, logs, width=width, decay=decay, seeds=seeds,
        watch=lambda logs: (logs - target)[n:].square().mean((0, 2)), ahead=data.t,
    )  # fmt: skip
    error = forecast(data.t) - target
    inside, outside = rms(error[:n]), rms(error[n:])
    for k, (seed, history) in enumerate(zip(seeds, forecast.trained.histories(config.lr), strict=True)):
        final = {
            "width": width,
            "decay": decay,
            "parameters": parameters(forecast.field) // len(seeds) + 2,  # the start is fitted too
            "held_out_error": errors[width, decay][k],
            "training_error": inside[k].item(),
            "test_error": outside[k].item(),
        }
        yield Run(seed, history, final)


def observed(config: Config, data: Logs, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the points left, first and last among them, and their noisy logarithms."""
    draw = torch.Generator().manual_seed(seed)
    n = int((data.t <= 10.0 + 1e-9).sum())
    noisy = data.logs[:n] + config.noise * torch.randn(n, 2, generator=draw, dtype=torch.float64)
    inner = 1 + torch.randperm(n - 2, generator=draw)[: round((1 - config.drop) * n) - 2]
    index = torch.cat((torch.tensor([0]), inner.sort().values, torch.tensor([n - 1])))
    return index, noisy[index]


def run_gaps(config: Config, data: Logs, seeds: list[int]) -> Iterator[Run]:
    index, logs = zip(*(observed(config, data, seed) for seed in seeds), strict=True)
    t, logs = torch.stack([data.t[i] for i in index], 1), torch.stack(logs, 1)
    n, truth = int((data.t <= 10.0 + 1e-9).sum()), data.logs.unsqueeze(1)
    forecast = fit(
        config, t, logs, width=config.widths[-1], decay=config.decays[0], seeds=seeds,
        watch=lambda logs: (logs - truth)[n:].square().mean((0, 2)), ahead=data.t,
    )  # fmt: skip
    error = forecast(data.t) - truth
    inside, ahead = rms(error[:n]), rms(error[n:])
    for k, (seed, history) in enumerate(zip(seeds, forecast.trained.histories(config.lr), strict=True)):
        have, grid = t[:, k].numpy(), data.t[:n].numpy()
        cubic = torch.tensor(CubicSpline(have, logs[:, k].numpy())(grid))
        place = torch.searchsorted(t[:, k].contiguous(), data.t[:n]).clamp(1, len(have) - 1)
        share = ((data.t[:n] - t[place - 1, k]) / (t[place, k] - t[place - 1, k])).unsqueeze(1)
        linear = (1 - share) * logs[place - 1, k] + share * logs[place, k]
        final = {
            "points": len(have),
            "parameters": parameters(forecast.field) // len(seeds) + 2,
            "error_inside": inside[k].item(),
            "error_ahead": ahead[k].item(),
            "linear_inside": (linear - data.logs[:n]).square().mean().sqrt().item(),
            "cubic_inside": (cubic - data.logs[:n]).square().mean().sqrt().item(),
        }
        yield Run(seed, history, final)


def run(
    config: Config, data: Logs, seeds: list[int], setup: Setup, checkpoint: Callable[[int], Path | None]
) -> Iterator[Run]:
    if seeds:
        yield from (run_forecast if config.task == "forecast" else run_gaps)(config, data, seeds)


GAPS = {"task": "gaps", "widths": (16,), "decays": (1e-4,), "epochs": 1500, "step": 0.2}
RECIPE = Recipe(
    name="lotka-volterra",
    summary="neural ODEs on hare and lynx: a forecast against simple ones; simulated series with points missing",
    config=Config, small={"epochs": 60, "polish": 20, "widths": (4,), "decays": (1e-3, 1e-2)}, load=load, run=run,
    label=lambda config: f"{config.task}-{config.model}" + (f"-drop{config.drop:g}" if config.task == "gaps" else ""),
    presets={"gaps": GAPS},
    wanted=(
        {"model": "node"}, {"model": "ude"},
        *({"preset": "gaps", "drop": drop} for drop in (0.0, 0.3, 0.5, 0.8)),
    ),
)  # fmt: skip
