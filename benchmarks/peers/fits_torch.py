"""One fit in torch, ours or through a peer: ``python fits_torch.py FOLDER`` (called by benchmarks/fits.py)."""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
folder = Path(sys.argv[1])
task, given = json.loads((folder / "task.json").read_text()), np.load(folder / "in.npz")
start = [given[f"arr_{i}"] for i in range(4)]
cubed, target, cap, width = task["problem"] == "spiral", task["target"], task["cap"], task["width"]
STEPS = 2 if cubed else 1  # of RK4 between the data: with one, a rollout on the spiral is up to 1e-3 from scipy's


def fine(x0):
    """Steps between the data for a peer: twice as many for the whole rollout, whose error decides who has arrived."""
    return 2 * STEPS if len(x0) == 1 else STEPS


dtype = torch.float64 if task["name"] == "ours, Levenberg–Marquardt" else torch.float32
t, y = torch.tensor(given["t"], dtype=dtype), torch.tensor(given["y"], dtype=dtype)


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2)).to(dtype)
        with torch.no_grad():
            for p, value in zip(self.net.parameters(), start, strict=True):
                p.copy_(torch.tensor(value))

    def forward(self, t, x):
        return self.net(x**3 if cubed else x)


def least_squares(field):
    from course_lib.fitting import fit_trajectory

    fit = fit_trajectory(field, t, y, target=0.9 * target, steps=STEPS,
                         groups=(1, None) if cubed else (1, 5, 20, None))  # fmt: skip
    return fit.epoch


def shooting(field):
    from course_lib.fitting import multiple_shooting

    group, lr = (3, 0.03) if cubed else (5, 0.02)
    fit = multiple_shooting(field, t, y, epochs=3000, lr=lr, group=group, starts="data", target=0.9 * target,
                            every=10, steps=STEPS, traced=False)  # fmt: skip
    return len(fit.losses)


def adam(field, rollout):
    """The usual way: the whole rollout, Adam, until the loss that is computed meets the target."""
    opt, begun, epoch = torch.optim.Adam(field.parameters(), lr=task["lr"]), time.process_time(), 0
    while time.process_time() - begun < cap:
        opt.zero_grad()
        loss = (rollout(field, y[:1], t)[:, 0] - y).square().mean()
        if loss.item() <= 0.9 * target:
            break
        loss.backward()
        opt.step()
        epoch += 1
    return epoch


def segments(field, rollout):
    """Segments as ours, through a peer's solver; the field does not know the time."""
    group, begun, epoch = 3 if cubed else 5, time.process_time(), 0
    first = torch.arange(0, len(t) - 1, group)
    opt = torch.optim.Adam(field.parameters(), lr=task["lr"])
    index = first[:, None] + torch.arange(1, group + 1)
    while time.process_time() - begun < cap:
        if epoch % 10 == 0:
            with torch.no_grad():
                rolled = rollout(field, y[:1], t)[:, 0]
            if (rolled - y).square().mean() <= 0.9 * target:
                break
        opt.zero_grad()
        seen = rollout(field, y[first], t[: group + 1])[1:].transpose(0, 1)
        (seen - y[index]).square().mean().backward()
        opt.step()
        epoch += 1
    return epoch


def torchdiffeq_dopri5(field, x0, t):
    """x0 (n, 2) to states (times, n, 2); so do all of these."""
    from torchdiffeq import odeint

    return odeint(field, x0, t, rtol=1e-4, atol=1e-4, method="dopri5")


def torchdiffeq_rk4(field, x0, t):
    from torchdiffeq import odeint

    return odeint(field, x0, t, method="rk4", options={"step_size": given["t"][1] / fine(x0)})


def torchdyn_dopri5(field, x0, t):
    from torchdyn.numerics import odeint

    return odeint(field, x0, t, "dopri5", rtol=1e-4, atol=1e-4)[1]


def torchdyn_rk4(field, x0, t):
    from torchdyn.numerics import odeint

    grid = torch.linspace(float(t[0]), float(t[-1]), (len(t) - 1) * fine(x0) + 1)
    return odeint(field, x0, grid, "rk4")[1][:: fine(x0)]


def torchode_dopri5(field, x0, t):
    import torchode

    term = torchode.ODETerm(field)
    tol = 1e-5 if len(x0) == 1 else 1e-4
    control = torchode.IntegralController(tol, tol, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term), control, backprop_through_step_size_control=False)
    times = t.expand(len(x0), -1)
    return solver.solve(torchode.InitialValueProblem(x0, times[:, 0], times[:, -1], t_eval=times)).ys.transpose(0, 1)


METHODS = {
    "ours, Levenberg–Marquardt": least_squares, "ours, shooting with Adam": shooting,
    "torchdiffeq dopri5, Adam": partial(adam, rollout=torchdiffeq_dopri5),
    "torchdyn dopri5, Adam": partial(adam, rollout=torchdyn_dopri5),
    "torchode Dopri5, Adam": partial(adam, rollout=torchode_dopri5),
    "torchdiffeq rk4, shooting with Adam": partial(segments, rollout=torchdiffeq_rk4),
    "torchdyn rk4, shooting with Adam": partial(segments, rollout=torchdyn_rk4),
    "torchode Dopri5, shooting with Adam": partial(segments, rollout=torchode_dopri5),
}  # fmt: skip

field = Field()
library = task["name"].split()[0].strip(",")
importlib.import_module({"ours": "course_lib.fitting", "torchdyn": "torchdyn.numerics"}.get(library, library))
begun, begun_cpu = time.perf_counter(), time.process_time()
evaluations = METHODS[task["name"]](field)
seconds = {"fit": time.perf_counter() - begun, "fit cpu": time.process_time() - begun_cpu}
np.savez(folder / "out.npz", *[p.detach().double().numpy() for p in field.net.parameters()])
(folder / "out.json").write_text(json.dumps(seconds | {"evaluations": evaluations}))
