"""Our solvers and gradients of neural ODEs against torchdiffeq's: forward and backward, one thread.

    python benchmarks/neural_ode.py [--only PART ...]

Both libraries get the same field, tolerance and times, and take turns; times are medians of the rounds, in CPU time of
the one thread, which other work on the machine disturbs less than the clock. torchdiffeq is called as its users call
it, with nothing of ours around it. Every row says how far the two results are apart, solution and gradient, and fails
if it is further than stated. Where the field takes most of the time, no solver can save much: beside each row stands
the floor, the field alone, evaluated and backpropagated as often. Rows:

- adaptive: dopri5 in both, the same rtol and atol, direct backpropagation, from a 2-d linear field to a convolution;
  the error of each solution against one in double precision at 1e-10, and the peak of the memory;
- digits: one training iteration (forward, backward, Adam) of the course's ODE-Net on 8 × 8 digits, dopri5 at 1e-3;
- spiral step: forward and backward of one step on the cubic spiral: our discrete adjoint of RK4, torchdiffeq's dopri5
  with odeint and with odeint_adjoint (a step there is one tried by the forward solve), and its rk4 (the 3/8 rule);
- grid: our rk4 and torchdiffeq's rk4 on the same grid: forward alone, backward too, by direct backpropagation and, for
  small states, by the discrete adjoint;
- depth: RK4 with 1000 steps, direct backpropagation and the discrete adjoint: time and peak of the memory.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable

import torch
from common import about, keep, kept, over, spreads, turns
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from course_lib.data.digits import digits
from course_lib.memory import peak_bytes
from course_lib.neural_ode import MLPField, NeuralODE
from course_lib.recipes import digits_odenet

Run = Callable[[], list[Tensor]]


class Linear(nn.Module):
    """x' = A x, A near a rotation."""

    def __init__(self):
        super().__init__()
        self.A = nn.Parameter(torch.tensor([[-0.1, 2.0], [-2.0, -0.1]]))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return x @ self.A.T


class Cubic(nn.Module):
    """The field of the spiral: a 2-50-2 tanh net on x³."""

    def __init__(self):
        super().__init__()
        self.net = MLPField(2, 50, depth=1, seed=0)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.net(t, x**3)


class Convolution(nn.Module):
    """3 × 3 convolutions of 32 channels, one or two, each followed by tanh."""

    def __init__(self, count: int):
        super().__init__()
        torch.manual_seed(0)
        layers = [layer for _ in range(count) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.Tanh())]
        self.net = nn.Sequential(*layers)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.net(x)


class Peer(nn.Module):
    """torchdiffeq's solution at the times t; without them its last state at t = 1, as a layer."""

    def __init__(self, field: nn.Module, *, adjoint: bool = False, **options):
        super().__init__()
        self.field, self.options, self.solve = field, options, odeint_adjoint if adjoint else odeint

    def forward(self, x0: Tensor, t: Tensor | None = None) -> Tensor:
        if t is None:
            return self.solve(self.field, x0, torch.tensor([0.0, 1.0], dtype=x0.dtype), **self.options)[-1]
        return self.solve(self.field, x0, t, **self.options)


def evaluations(field: nn.Module, run: Callable[[], object]) -> int:
    """How often run() evaluates the field."""
    calls = []
    hook = field.register_forward_hook(lambda *_: calls.append(1))
    run()
    hook.remove()
    return len(calls)


def gradients(node: nn.Module, x0: Tensor, t: Tensor) -> Run:
    """Solution at t, and the gradient of its mean square by x0 and the weights."""
    weights = list(node.parameters())

    def run() -> list[Tensor]:
        x = node(x0, t)
        return [x.detach(), *torch.autograd.grad(x.square().mean(), [x0, *weights])]

    return run


def apart(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest difference of two results, relative to the size of each part."""
    return max(((u - v).norm() / v.norm().clamp(min=1e-12)).item() for u, v in zip(a, b, strict=True))


def field_alone(field: nn.Module, x0: Tensor, forward: int, backward: int) -> Run:
    """The floor: so many evaluations without a graph, and so many with one, backpropagated."""
    weights, t = list(field.parameters()), torch.tensor(0.0)
    x, given = x0.detach().requires_grad_(), torch.ones_like(x0)

    def run() -> list[Tensor]:
        with torch.no_grad():
            for _ in range(forward):
                field(t, x)
        slopes = [field(t, x) for _ in range(backward)]
        return list(torch.autograd.grad(slopes, [x, *weights], [given] * backward))

    return run


def adaptive() -> list[dict]:
    draw = torch.Generator().manual_seed(0)
    cases = {  # name: field, state, times, tolerance, largest difference allowed, calls a round
        "linear, 2-d": (Linear(), torch.randn(1, 2, generator=draw), [0.0, 5.0], 1e-5, 1e-3, 5),
        "spiral, 2-50-2 on x³, 16 times": (
            Cubic(), torch.tensor([[2.0, 0.0]]), torch.linspace(0, 1.5, 16), 1e-5, 1e-3, 5),
        "2-64-64-2, batch 256": (
            MLPField(2, 64, seed=0), torch.randn(256, 2, generator=draw), [0.0, 5.0], 1e-5, 1e-3, 5),
        "32-128-32, batch 128, t as input": (
            MLPField(32, 128, depth=1, time=True, seed=0), torch.randn(128, 32, generator=draw), [0.0, 5.0], 1e-5, 1e-3,
            3),
        "a convolution, 32 channels, 8 × 8, batch 16": (
            Convolution(1), torch.randn(16, 32, 8, 8, generator=draw), [0.0, 3.0], 1e-4, 1e-3, 1),
        "two convolutions, 32 channels, 8 × 8, batch 16": (
            Convolution(2), torch.randn(16, 32, 8, 8, generator=draw), [0.0, 3.0], 1e-4, 1e-3, 1),
    }
    rows = []
    for name, (field, x0, t, tol, limit, calls) in cases.items():
        t, x0 = torch.as_tensor(t), x0.requires_grad_()
        nodes = {"own": NeuralODE(field, rtol=tol, atol=tol), "torchdiffeq": Peer(field, rtol=tol, atol=tol)}
        runs = {s: gradients(node, x0, t) for s, node in nodes.items()}
        found = {s: run() for s, run in runs.items()}
        difference = apart(found["own"], found["torchdiffeq"])
        assert difference < limit, f"{name}: the results differ by {difference:.1e}"
        exact = NeuralODE(copy.deepcopy(field).double(), rtol=1e-10, atol=1e-10)(x0.detach().double(), t).detach()
        nfe = {s: evaluations(field, run) for s, run in runs.items()}
        row = {"case": name, "tolerance": tol, "difference": difference, "nfe": nfe,
               "error": {s: apart([x[0].double()], [exact]) for s, x in found.items()},
               "peak_bytes": {s: peak_bytes(run, exclude=[x0, *field.parameters()]) for s, run in runs.items()}}
        runs |= {f"{s} forward": no_gradient(node, x0, t) for s, node in nodes.items()}
        runs["floor"] = field_alone(field, x0, 0, nfe["own"])
        rows.append(row | timed(runs, calls))
    return rows


def timed(runs: dict[str, Run], calls: int) -> dict:
    """Milliseconds with their spread, and torchdiffeq's time over ours, over the floor, and forward alone."""
    times = turns(runs, calls=calls)
    found = {"ms": spreads(times), "ratio": over(times, "torchdiffeq", "own")}
    for name, of, to in (("ratio_of_floor", "torchdiffeq", "floor"), ("over_floor", "own", "floor"),
                         ("ratio_forward", "torchdiffeq forward", "own forward"),
                         ("ratio_discrete", "torchdiffeq", "own, discrete adjoint")):
        if {of, to} <= set(times):
            found[name] = over(times, of, to)
    return found


def no_gradient(node: nn.Module, x0: Tensor, t: Tensor) -> Callable[[], Tensor]:
    return torch.no_grad()(lambda: node(x0, t))


def training(batch: int = 128) -> list[dict]:
    """One iteration of the recipe digits-odenet: forward, cross entropy, backward, Adam.

    At 1e-3 the two take other steps, and through the kinks of ReLU their gradients differ by some per cent. Compared
    are those at 1e-7 in double precision, which still differ by half a per cent.
    """
    data = digits()
    x, y = data.x[:batch], data.y[:batch]
    rows = []
    for kind, gradient in (("rknet", "direct"), ("odenet", "adjoint")):
        nets, found, nfe = {}, [], {}
        for solver in ("own", "torchdiffeq"):
            nets[solver], precise = digits_net(kind, solver, 1e-3), digits_net(kind, solver, 1e-7).double()
            loss = nn.functional.cross_entropy(precise(x[:16].double()), y[:16])
            slopes = torch.autograd.grad(loss, list(precise.parameters()))
            found.append([torch.cat([v.detach().flatten() for v in (loss, *slopes)])])
        difference = apart(*found)
        assert difference < 1e-2, f"digits: the results differ by {difference:.1e}"
        runs = {s: iteration(net, x, y) for s, net in nets.items()}
        for s, net in nets.items():
            forward = evaluations(net[4].field, lambda net=net: net(x))
            nfe[s] = forward, evaluations(net[4].field, runs[s]) - forward
        with torch.no_grad():
            state = nets["own"][:4](x)  # what the stem hands to the block
        bare = nfe["own"] if gradient == "adjoint" else (0, nfe["own"][0])
        runs["floor"] = field_alone(nets["own"][4].field, state, *bare)
        rows.append({"case": f"{kind}, {gradient}, digits, batch {batch}, dopri5 at 1e-3",
                     "parameters": sum(p.numel() for p in nets["own"].parameters()), "difference": difference,
                     "nfe": nfe} | timed(runs, 2))
    return rows


def digits_net(kind: str, solver: str, tol: float) -> nn.Sequential:
    """The recipe's network, its ODE block, the fifth of its modules, by our solver or by torchdiffeq's."""
    torch.manual_seed(0)
    net = digits_odenet.model(kind, tolerance=tol)
    if solver == "torchdiffeq":
        net[4] = Peer(net[4].field, adjoint=net[4].gradient == "adjoint", rtol=tol, atol=tol)
    return net


def iteration(net: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    opt = torch.optim.Adam(net.parameters(), lr=0.0)  # the nets stay as they are, so that both do the same work

    def run() -> None:
        opt.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        opt.step()

    return run


def spiral_step(steps: int = 60) -> dict:
    """Microseconds a step, forward and backward, on the spiral from (2, 0) to t = 1.5, with weights ten times as large
    as at the start of training: the trained net is as quick, and each solve takes many steps."""
    field, x0, t = Cubic(), torch.tensor([[2.0, 0.0]]).requires_grad_(), torch.tensor([0.0, 1.5])
    with torch.no_grad():
        field.net.layers[-1].weight *= 10
    rk4, theirs = {"method": "rk4", "steps": steps}, {"method": "rk4", "options": {"step_size": 1.5 / steps}}
    nodes = {
        "discrete adjoint, rk4": NeuralODE(field, gradient="discrete", checkpoints="all", **rk4),
        "discrete adjoint, rk4, √n": NeuralODE(field, gradient="discrete", **rk4),
        "direct, rk4": NeuralODE(field, **rk4),
        "torchdiffeq odeint, dopri5": Peer(field, rtol=1e-6, atol=1e-6),
        "torchdiffeq odeint_adjoint, dopri5": Peer(field, adjoint=True, rtol=1e-6, atol=1e-6),
        "torchdiffeq odeint, rk4": Peer(field, **theirs),
        "torchdiffeq odeint_adjoint, rk4": Peer(field, adjoint=True, **theirs),
    }
    runs = {name: gradients(node, x0, t) for name, node in nodes.items()}
    found = {name: run() for name, run in runs.items()}
    exact = apart(found["discrete adjoint, rk4"], found["direct, rk4"])
    difference = max(apart(result, found["direct, rk4"]) for result in found.values())
    assert exact < 1e-5 and difference < 1e-3, f"spiral: the results differ by {exact:.1e} and {difference:.1e}"
    taken = {name: steps if "rk4" in name else (evaluations(field, no_gradient(node, x0, t)) - 2) // 6
             for name, node in nodes.items()}
    times = turns(runs, calls=2)
    us = {name: [1e3 * ms / taken[name] for ms in row] for name, row in times.items()}
    return {"case": "spiral, a step", "steps": taken, "difference": difference, "difference_from_direct": exact,
            "us_a_step": spreads(us), "ratio": {name: over(us, name, "discrete adjoint, rk4") for name in us}}


def grid(steps: int = 60) -> list[dict]:
    """The same grid: our rk4 and torchdiffeq's, forward and backward."""
    rows = []
    draw = torch.Generator().manual_seed(0)
    for name, field, x0 in (
        ("linear, 2-d", Linear(), torch.randn(1, 2, generator=draw)),
        ("spiral, 2-50-2 on x³", Cubic(), torch.tensor([[2.0, 0.0]])),
        ("2-64-64-2, batch 256", MLPField(2, 64, seed=0), torch.randn(256, 2, generator=draw)),
    ):
        x0, t = x0.requires_grad_(), torch.tensor([0.0, 1.5])
        nodes = {"own": NeuralODE(field, method="rk4", steps=steps),
                 "torchdiffeq": Peer(field, method="rk4", options={"step_size": 1.5 / steps})}
        assert evaluations(field, no_gradient(nodes["torchdiffeq"], x0, t)) == 4 * steps
        runs = {s: gradients(node, x0, t) for s, node in nodes.items()}
        difference = apart(runs["own"](), runs["torchdiffeq"]())
        assert difference < 1e-4, f"{name}: the results differ by {difference:.1e}"
        if x0.numel() <= 2:
            adjoint = NeuralODE(field, method="rk4", steps=steps, gradient="discrete", checkpoints="all")
            runs["own, discrete adjoint"] = gradients(adjoint, x0, t)
            assert apart(runs["own, discrete adjoint"](), runs["own"]()) < 1e-5
        runs |= {f"{s} forward": no_gradient(node, x0, t) for s, node in nodes.items()}
        runs["floor"] = field_alone(field, x0, 0, 4 * steps)
        rows.append({"case": name, "steps": steps, "difference": difference} | timed(runs, 2))
    return rows


def depth(steps: int = 1000) -> list[dict]:
    """RK4 with many steps: the discrete adjoint against direct backpropagation."""
    rows = []
    draw = torch.Generator().manual_seed(0)
    for name, field, x0 in (
        ("spiral, 2-50-2 on x³", Cubic(), torch.tensor([[2.0, 0.0]])),
        ("2-64-64-2, batch 64", MLPField(2, 64, seed=0), torch.randn(64, 2, generator=draw)),
    ):
        x0, t = x0.requires_grad_(), torch.tensor([0.0, 1.5])
        kinds = {"direct": {}, "discrete, √n": {"gradient": "discrete"},
                 "discrete, log n": {"gradient": "discrete", "checkpoints": "log"}}
        nodes = {k: NeuralODE(field, method="rk4", steps=steps, **options) for k, options in kinds.items()}
        runs = {k: gradients(node, x0, t) for k, node in nodes.items()}
        found = {k: run() for k, run in runs.items()}
        difference = max(apart(f, found["direct"]) for f in found.values())
        assert difference < 1e-4, f"{name}: the results differ by {difference:.1e}"
        peak = {k: peak_bytes(run, exclude=[x0, *field.parameters()]) for k, run in runs.items()}
        times = turns(runs)
        rows.append({"case": name, "steps": steps, "difference": difference, "ms": spreads(times), "peak_bytes": peak,
                     "memory": {k: peak[k] / peak["direct"] for k in kinds},
                     "time": {k: over(times, k, "direct") for k in kinds},
                     "nfe_backward": {k: node.nfe.backward for k, node in nodes.items()}})
    return rows


PARTS = {"adaptive": adaptive, "digits": training, "spiral_step": spiral_step, "grid": grid, "depth": depth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, nargs="+", help="run these parts, and keep the file's other results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = (kept("neural_ode") if options.only else {}) | about("torchdiffeq")
    for name in options.only or PARTS:
        result[name] = PARTS[name]()
        keep("neural_ode", result)
        for row in result[name] if isinstance(result[name], list) else [result[name]]:
            print(json.dumps({k: v for k, v in row.items() if k not in ("ms", "us_a_step")}, ensure_ascii=False))


if __name__ == "__main__":
    main()
