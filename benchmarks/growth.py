"""How time and memory grow with the work, and the exponent beside theory: ``python benchmarks/growth.py [--only ROW]``.

One row a kind of work: depth of a reversible block, steps of a solver, batch, size of an implicit layer's state, seeds
trained together, tolerance. Each doubles its work several times; the exponent is the slope of log(cost) over log(work)
by least squares on the upper half of the points, where what does not grow has lost its weight. Time is CPU time on one
thread, the least of three calls; memory is the peak of the tensors alive, not resident memory. Oracles: at every size
the candidates of a row give the same gradients, seeds trained together the losses of each alone, and a solver's error
stays in proportion to its tolerance; a row whose results differ by more than it states is not recorded.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from common import about, keep, kept
from neural_ode import Peer, apart, evaluations, no_gradient
from reversible_block import Checkpointed
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from course_lib.hamiltonian import HamiltonianConv2d
from course_lib.implicit import SkewField, ThetaLayer
from course_lib.memory import peak_bytes
from course_lib.neural_ode import MLPField, NeuralODE
from course_lib.train import fit, fit_seeds

CALLS = 3
Run = Callable[[], list[Tensor]]  # does the work once and returns what it computed


class Candidate(NamedTuple):
    """make(work): the run, and the tensors that are there before it; theory: exponents of its time and its memory,
    up to logarithms, None where the growth is one itself; NaN: not measured."""

    make: Callable[[int], tuple[Run, list[Tensor]]]
    time: float | None
    memory: float | None


class Curve(NamedTuple):
    """Cost of one candidate as its work grows; theory: its exponent, up to logarithms, None where it is one itself."""

    who: str
    cost: str
    work: list[float]
    values: list[float]
    theory: float | None


def exponent(work: list[float], values: list[float]) -> float:
    """The slope of log(values) over log(work) on the upper half of the points."""
    half = len(work) // 2
    return float(np.polyfit(np.log(work[half:]), np.log(values[half:]), 1)[0])


def milliseconds(run: Callable[[], object]) -> float:
    run()
    best = math.inf
    for _ in range(CALLS):
        start = time.process_time()
        run()
        best = min(best, 1e3 * (time.process_time() - start))
    return best


def costs(works: Iterable[int], candidates: dict[str, Candidate], *, limit: float) -> Iterator[Curve]:
    """Time and memory of each candidate by the work, after its results were found to be those of the first one."""
    works = list(works)
    made = {who: [candidate.make(work) for work in works] for who, candidate in candidates.items()}
    first, *others = made
    for k, work in enumerate(works):
        found = made[first][k][0]()
        for who in others:
            agree(f"{who}, work {work}", apart(made[who][k][0](), found), limit)
    for who, candidate in candidates.items():
        yield Curve(who, "ms", works, [milliseconds(run) for run, _ in made[who]], candidate.time)
        if candidate.memory is None or not math.isnan(candidate.memory):
            peaks = [peak_bytes(run, exclude=there) for run, there in made[who]]
            yield Curve(who, "bytes", works, peaks, candidate.memory)


def agree(what: str, difference: float, limit: float) -> None:
    if not difference < limit:
        raise AssertionError(f"{what}: the results differ by {difference:.1e}, more than {limit:.0e}")


def backward(net: nn.Module, x: Tensor) -> tuple[Run, list[Tensor]]:
    """The net's gradients by its input and its weights."""
    inputs = [x.requires_grad_(), *net.parameters()]
    return lambda: list(torch.autograd.grad(net(x).square().sum(), inputs)), inputs


def depth() -> Iterator[Curve]:
    """The Hamiltonian block of 16 channels on 8 × 8 images, batch 16, by its number of steps."""
    x = torch.randn(16, 16, 8, 8, generator=torch.Generator().manual_seed(0))

    def block(steps: int, reversible: bool) -> nn.Module:
        return HamiltonianConv2d(16, steps=steps, h=0.1, method="symplectic_euler", reversible=reversible,
                                 generator=torch.Generator().manual_seed(0))

    yield from costs([2**k for k in range(3, 9)], {
        "plain autograd": Candidate(lambda n: backward(block(n, False), x), 1, 1),
        "reversible": Candidate(lambda n: backward(block(n, True), x), 1, 0),
        "checkpoints": Candidate(lambda n: backward(Checkpointed(n, block(1, False)), x), 1, 0.5),
    }, limit=1e-3)  # fmt: skip; in single precision rounding switches a ReLU on the way back


def steps() -> Iterator[Curve]:
    """RK4 on a 2-64-64-2 field, 16 states, by its number of steps."""
    field = MLPField(2, 64, seed=0)
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))

    def ours(**kind: str) -> Callable[[int], tuple[Run, list[Tensor]]]:
        return lambda n: backward(NeuralODE(field, method="rk4", steps=n, **kind), x)

    yield from costs([2**k for k in range(4, 10)], {
        "direct": Candidate(ours(gradient="direct"), 1, 1),
        "discrete adjoint, √n": Candidate(ours(gradient="discrete"), 1, 0.5),
        "discrete adjoint, log n": Candidate(ours(gradient="discrete", checkpoints="log"), 1, None),
        "torchdiffeq": Candidate(
            lambda n: backward(Peer(field, method="rk4", options={"step_size": 1 / n}), x), 1, 1),
    }, limit=1e-4)  # fmt: skip


def batch() -> Iterator[Curve]:
    """A solve of dopri5 at 1e-5, 2-64-64-2, by the number of states."""
    field, tolerances = MLPField(2, 64, seed=0), {"rtol": 1e-5, "atol": 1e-5}

    def make(node: nn.Module) -> Callable[[int], tuple[Run, list[Tensor]]]:
        return lambda n: backward(node, torch.randn(n, 2, generator=torch.Generator().manual_seed(0)))

    yield from costs([4**k for k in range(8)], {
        "ours": Candidate(make(NeuralODE(field, **tolerances)), 1, 1),
        "torchdiffeq": Candidate(make(Peer(field, **tolerances)), 1, 1),
    }, limit=1e-3)  # fmt: skip


def state() -> Iterator[Curve]:
    """The θ-layer, 64 samples, by the size of the state; and the linear systems of one Newton step alone."""
    def layer(solver: str) -> Callable[[int], tuple[Run, list[Tensor]]]:
        def make(d: int) -> tuple[Run, list[Tensor]]:
            draw = torch.Generator().manual_seed(d)
            F = SkewField(d, generator=draw)
            with torch.no_grad():
                F.K *= 1 / torch.linalg.matrix_norm(F.matrix(), 2)
            return backward(ThetaLayer(F, solver=solver, tol=1e-5), torch.randn(64, d, generator=draw))
        return make

    def solve(d: int) -> tuple[Run, list[Tensor]]:
        draw = torch.Generator().manual_seed(d)
        A = torch.eye(d) + 0.1 * torch.randn(64, d, d, generator=draw) / d**0.5
        b = torch.randn(64, d, 1, generator=draw)
        return lambda: [torch.linalg.solve(A, b)], [A, b]

    works = [2**k for k in range(1, 9)]
    yield from costs(works, {
        "newton": Candidate(layer("newton"), 3, 2),
        "fixed point": Candidate(layer("fixed_point"), 2, 2),  # the weights alone are d × d
    }, limit=1e-3)  # fmt: skip
    yield from costs(works, {"floor: linalg.solve alone": Candidate(solve, 3, math.nan)}, limit=math.inf)


def seeds() -> Iterator[Curve]:
    """Nets of width 16 trained together, 50 epochs of one full batch of 32, by their number."""
    x = torch.linspace(-1, 1, 32)[:, None]
    data, options = (x, torch.sin(3 * x)), {"epochs": 50, "lr": 1e-2}

    def net(seed: int) -> nn.Module:
        return nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))

    def alone(seed: int) -> list[float]:
        torch.manual_seed(seed)
        return fit(net(seed), data, seed=seed, device="cpu", progress=False, **options).loss

    def make(n: int) -> tuple[Run, list[Tensor]]:
        return lambda: [torch.tensor(fit_seeds(net, data, seeds=range(n), **options).history.loss)], [x]

    works = [2**k for k in range(8)]
    for n in (works[0], works[-1]):
        (together,) = make(n)[0]()
        agree(f"{n} seeds together, the last of them", apart([together[-1]], [torch.tensor(alone(n - 1))]), 1e-4)
    yield from costs(works, {"ours, together": Candidate(make, 1, 1)}, limit=0)


def tolerance() -> Iterator[Curve]:
    """Evaluations of dopri5 on a smooth field, in double precision, by 1/tolerance: a method of order 5."""
    field = MLPField(2, 64, seed=0, dtype=torch.float64)
    x = torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    works = [10.0**k for k in range(3, 12)]

    @torch.no_grad()
    def plain(t: float, y: np.ndarray) -> np.ndarray:
        return field(t, torch.from_numpy(y).view(16, 2)).flatten().numpy()

    end = solve_ivp(plain, (0, 5), x.flatten().numpy(), method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    exact, times = torch.from_numpy(end).view(16, 2), torch.tensor([0.0, 5.0], dtype=x.dtype)
    for who, kind in (("ours", NeuralODE), ("torchdiffeq", Peer)):
        nfe = []
        for w in works:
            run = no_gradient(kind(field, rtol=1 / w, atol=1 / w), x, times)
            nfe.append(evaluations(field, run))
            error = (run()[-1] - exact).abs().max().item()
            agree(f"{who}, tolerance {1 / w:.0e}", error, 100 / w)
        yield Curve(who, "evaluations", works, nfe, 0.2)


ROWS = {"depth": depth, "steps": steps, "batch": batch, "state": state, "seeds": seeds, "tolerance": tolerance}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=ROWS, nargs="+", help="these rows, and keep the file's others")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = (kept("growth") if options.only else {}) | about("torchdiffeq")
    for name in options.only or ROWS:
        curves = [curve._asdict() | {"exponent": exponent(curve.work, curve.values)} for curve in ROWS[name]()]
        result[name] = {"about": ROWS[name].__doc__, "curves": curves}
        keep("growth", result)
        for curve in curves:
            print(f"{name:10s} {curve['who']:26s} {curve['cost']:12s} grows as work^{curve['exponent']:.2f}, "
                  f"theory {curve['theory']}", flush=True)


if __name__ == "__main__":
    main()
