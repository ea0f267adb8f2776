"""How time and memory grow with the work, and the exponent beside theory: ``python benchmarks/growth.py [--only ROW]``.

One row a kind of work: depth of a reversible block, steps of a solver, batch, size of an implicit layer's state, seeds
trained together, tolerance. Each doubles its work several times; the exponent is the slope of log(cost) over log(work)
by least squares on the upper half of the points, where what does not grow has lost its weight. Time is CPU time on one
thread, the least of three calls; memory is the peak of the tensors alive, not resident memory.
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
from reversible_block import Checkpointed
from torch import Tensor, nn

from course_lib.hamiltonian import HamiltonianConv2d
from course_lib.implicit import SkewField, ThetaLayer
from course_lib.integrators import dopri5
from course_lib.memory import peak_bytes
from course_lib.neural_ode import MLPField, NeuralODE
from course_lib.train import fit_seeds

CALLS = 3


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


def costs(who: str, works: Iterable[int], make: Callable[[int], tuple[Callable[[], object], list[Tensor]]],
          time_theory: float | None, memory_theory: float | None, **only: bool) -> Iterator[Curve]:
    """Time and memory of make(work)() for each work; make also says which tensors were there before."""
    works = list(works)
    made = [make(work) for work in works]
    if only.get("time", True):
        yield Curve(who, "ms", works, [milliseconds(run) for run, _ in made], time_theory)
    if only.get("memory", True):
        yield Curve(who, "bytes", works, [peak_bytes(run, exclude=there) for run, there in made], memory_theory)


def backward(net: nn.Module, x: Tensor) -> tuple[Callable[[], object], list[Tensor]]:
    return lambda: net(x).square().sum().backward(), [x, *net.parameters()]


def depth() -> Iterator[Curve]:
    """The Hamiltonian block of 16 channels on 8 × 8 images, batch 16, by its number of steps."""
    x = torch.randn(16, 16, 8, 8, generator=torch.Generator().manual_seed(0))

    def block(steps: int, reversible: bool) -> nn.Module:
        return HamiltonianConv2d(16, steps=steps, h=0.1, method="symplectic_euler", reversible=reversible,
                                 generator=torch.Generator().manual_seed(0))

    works = [2**k for k in range(3, 9)]
    yield from costs("plain autograd", works, lambda n: backward(block(n, False), x), 1, 1)
    yield from costs("reversible", works, lambda n: backward(block(n, True), x), 1, 0)
    yield from costs("checkpoints", works, lambda n: backward(Checkpointed(n, block(1, False)), x), 1, 0.5)


def steps() -> Iterator[Curve]:
    """RK4 on a 2-64-64-2 field, 16 states, by its number of steps."""
    field = MLPField(2, 64, seed=0)
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    for who, theory, kind in (
        ("direct", 1, {"gradient": "direct"}), ("discrete adjoint, √n", 0.5, {"gradient": "discrete"}),
        ("discrete adjoint, log n", None, {"gradient": "discrete", "checkpoints": "log"}),
        ("torchdiffeq", 1, {"solver": "torchdiffeq"}),
    ):  # fmt: skip
        def make(n: int, kind: dict = kind) -> tuple[Callable[[], object], list[Tensor]]:
            return backward(NeuralODE(field, method="rk4", steps=n, **kind), x)

        yield from costs(who, [2**k for k in range(4, 10)], make, 1, theory)


def batch() -> Iterator[Curve]:
    """A step of dopri5 at 1e-3, 2-64-64-2, by the number of states."""
    field = MLPField(2, 64, seed=0)
    for who, solver in (("ours", "own"), ("torchdiffeq", "torchdiffeq")):
        def make(n: int, solver: str = solver) -> tuple[Callable[[], object], list[Tensor]]:
            x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
            return backward(NeuralODE(field, rtol=1e-3, atol=1e-3, solver=solver), x)

        yield from costs(who, [4**k for k in range(8)], make, 1, 1)


def state() -> Iterator[Curve]:
    """The θ-layer, 64 samples, by the size of the state; and the linear systems of one Newton step alone."""
    def layer(solver: str) -> Callable[[int], tuple[Callable[[], object], list[Tensor]]]:
        def make(d: int) -> tuple[Callable[[], object], list[Tensor]]:
            draw = torch.Generator().manual_seed(d)
            F = SkewField(d, generator=draw)
            with torch.no_grad():
                F.K *= 1 / torch.linalg.matrix_norm(F.matrix(), 2)
            return backward(ThetaLayer(F, solver=solver, tol=1e-5), torch.randn(64, d, generator=draw))
        return make

    def solve(d: int) -> tuple[Callable[[], object], list[Tensor]]:
        draw = torch.Generator().manual_seed(d)
        A = torch.eye(d) + 0.1 * torch.randn(64, d, d, generator=draw) / d**0.5
        b = torch.randn(64, d, 1, generator=draw)
        return lambda: torch.linalg.solve(A, b), [A, b]

    works = [2**k for k in range(1, 9)]
    yield from costs("newton", works, layer("newton"), 3, 2)
    yield from costs("fixed point", works, layer("fixed_point"), 2, 2)  # the weights alone are d × d
    yield from costs("floor: linalg.solve alone", works, solve, 3, None, memory=False)


def seeds() -> Iterator[Curve]:
    """Nets of width 16 trained together, 50 epochs of one full batch of 32, by their number."""
    x = torch.linspace(-1, 1, 32)[:, None]

    def make(n: int) -> tuple[Callable[[], object], list[Tensor]]:
        def net(seed: int) -> nn.Module:
            return nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))

        return lambda: fit_seeds(net, (x, torch.sin(3 * x)), seeds=range(n), epochs=50, lr=1e-2), [x]

    yield from costs("ours, together", [2**k for k in range(8)], make, 1, 1)


def tolerance() -> Iterator[Curve]:
    """Evaluations of dopri5 on a smooth field, in double precision, by 1/tolerance: a method of order 5."""
    field = MLPField(2, 64, seed=0, dtype=torch.float64)
    x = torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    works = [10.0**k for k in range(3, 12)]
    with torch.no_grad():
        nfe = [dopri5(field, x, [0.0, 5.0], rtol=1 / w, atol=1 / w).nfe for w in works]
    yield Curve("ours", "evaluations", works, nfe, 0.2)


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
