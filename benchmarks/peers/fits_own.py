"""What the library alone is timed on, after its imports: ``python fits_own.py ten_seeds`` or ``pelts``."""

from __future__ import annotations

import json
import sys
import time

import torch
from torch import nn

from course_lib.data import pelts
from course_lib.dynamics import LotkaVolterra
from course_lib.fitting import Fit, fit_trajectory, levenberg_marquardt_rows, multiple_shooting, trajectory_rows
from course_lib.integrators import dopri5

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, seed: int, dtype: torch.dtype):
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2)).to(dtype)

    def forward(self, t, x):
        return self.net(x)


def clocked(job) -> tuple[float, float, object]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = job()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def rolled(net: nn.Module, t: torch.Tensor, data: torch.Tensor) -> float:
    """The error at a tight tolerance, whatever the fit's own was."""
    with torch.no_grad():
        x = dopri5(net.double(), data[0], t, rtol=1e-8, atol=1e-8).x
    return (x - data).square().mean().item()


def ten_seeds() -> dict:
    """Lotka–Volterra, t in [0, 10], to a mean squared error of 1e-2: each seed alone, by both methods."""
    t = torch.linspace(0, 10, 101, dtype=torch.float64)
    data = dopri5(LotkaVolterra(1.5, 1.0, 3.0, 1.0), torch.ones(2, dtype=torch.float64), t, rtol=1e-9, atol=1e-9).x
    result = {}
    for name, dtype, fit in (
        ("Levenberg–Marquardt", torch.float64, lambda net: fit_trajectory(net, t, data, target=9e-3)),
        ("shooting with Adam", torch.float32, lambda net: multiple_shooting(
            net, t, data, epochs=3000, lr=0.02, group=5, starts="data", target=9e-3, every=10, traced=False)),
    ):  # fmt: skip
        nets = [Net(seed, dtype) for seed in range(10)]
        times = [clocked(lambda net=net, fit=fit: fit(net)) for net in nets]
        result |= {f"{name}, slowest wall": max(w for w, _, _ in times)}
        result |= {f"{name}, slowest cpu": max(c for _, c, _ in times)}
        result |= {f"{name}, worst loss": max(rolled(net, t, data) for net in nets)}
    nets = [Net(seed, torch.float64) for seed in range(10)]
    wall, cpu, _ = clocked(lambda: fit_trajectory(nets, t, data, target=9e-3))
    worst = max(rolled(net, t, data) for net in nets)
    return result | {"ten together, wall": wall, "ten together, cpu": cpu, "ten together, worst loss": worst}


def six_parameters() -> dict:
    """The fit on logarithms from the first guess and from random starts around it, in a fresh process."""
    series = pelts()

    def model(p):
        *rates, u0, v0 = p.exp().unbind(-1)
        return LotkaVolterra(*rates), torch.stack((u0, v0), -1)

    guess = torch.tensor([0.63, 0.031, 0.63, 0.018, 30.0, 4.0], dtype=torch.float64).log()
    draw = torch.Generator().manual_seed(0)
    starts = guess + 0.7 * torch.randn(20, 6, dtype=torch.float64, generator=draw)
    result = {}
    for name, rows in (("guess", guess.unsqueeze(0)), ("5 starts", starts[:5]), ("20 starts", starts)):
        wall, cpu, fits = clocked(
            lambda rows=rows: levenberg_marquardt_rows(trajectory_rows(model, series.t, series.counts), rows)
        )
        good = [f for f in fits if isinstance(f, Fit) and f.rmse < 0.2193]
        result |= {f"{name}, wall": wall, f"{name}, cpu": cpu, f"{name}, arrived": len(good)}
    best = min((f for f in fits if isinstance(f, Fit)), key=lambda f: f.cost)
    return result | {"rmse of logarithms": best.rmse, "parameters": best.p.exp().tolist()}


print(json.dumps(ten_seeds() if sys.argv[1] == "ten_seeds" else six_parameters()))
