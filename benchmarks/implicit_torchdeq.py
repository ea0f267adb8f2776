"""The θ-layer against torchdeq: forward and backward, θ = ½, batch 256, single precision, one thread.

    python benchmarks/implicit_torchdeq.py

Both libraries solve y = c + aF(y) for the same skew field. torchdeq uses its exact implicit gradient (ift=True) with
each of its solvers and each tolerance of a list; counted is the fastest whose value and gradient are right to 1e-5 of
a float64 reference, and the same holds for ours. Times are medians of 15 rounds in which all candidates take turns.
The floor of a dense Newton is `linalg.solve` alone: as many batches of linear systems of the state's size as the solve
and its backward pass need.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from common import Times, about, keep, over, spreads, turns
from torch import Tensor

from course_lib.implicit import SOLVERS, ConvergenceError, Equation, SkewField, ThetaLayer

BATCH, ROUNDS, CALLS, ERROR = 256, 15, 4, 1e-5
TOLERANCES = (1e-4, 1e-5, 1e-6)
PEERS = ("fixed_point_iter", "anderson", "broyden")
Call = Callable[[Tensor], Tensor]


def problem(width: int, size: float) -> tuple[SkewField, Tensor]:
    """A skew tanh field with h·Lip(F) = size (h = 1), and states."""
    draw = torch.Generator().manual_seed(width)
    F = SkewField(width, generator=draw)
    with torch.no_grad():
        F.K *= size / torch.linalg.matrix_norm(F.matrix(), 2)
    return F, torch.randn(BATCH, width, generator=draw).requires_grad_()


def ours(F: SkewField, solver: str, tol: float) -> Call:
    return ThetaLayer(F, solver=solver, tol=tol)


def peer(F: SkewField, solver: str, tol: float) -> Call:
    """torchdeq's layer for the same equation."""
    from torchdeq import get_deq

    deq = get_deq(f_solver=solver, b_solver=solver, ift=True, f_tol=tol, b_tol=tol, f_max_iter=200, b_max_iter=200,
                  f_stop_mode="rel", b_stop_mode="rel")
    deq.train()

    def layer(x: Tensor) -> Tensor:
        c = x + 0.5 * F(x)
        return deq(lambda y: c + 0.5 * F(y), x.detach())[0][-1]

    return layer


def run(layer: Call, F: SkewField, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient for x and gradient for the weights of the sum of squares."""
    y = layer(x)
    return (y.detach(), *torch.autograd.grad(y.square().sum(), (x, F.K)))


def reference(F: SkewField, x: Tensor) -> tuple[Tensor, ...]:
    """The same in float64, by Newton's method to 1e-13."""
    precise = SkewField(F.width, dtype=torch.float64)
    precise.load_state_dict(F.state_dict())
    found = run(ThetaLayer(precise, solver="newton", tol=1e-13), precise, x.detach().double().requires_grad_())
    return tuple(t.float() for t in found)


def accurate(layer: Call, F: SkewField, x: Tensor, truth: tuple[Tensor, ...]) -> bool:
    try:
        found = run(layer, F, x)
    except (ConvergenceError, RuntimeError):
        return False
    return all(float((a - b).norm() / b.norm()) <= ERROR for a, b in zip(found, truth, strict=True))


def hopeful(candidates: dict[str, Call], F: SkewField, x: Tensor) -> dict[str, Call]:
    """The candidates that are within four times of the fastest of their library, judged by the best of four calls."""
    seconds = {}
    for name, layer in candidates.items():
        seconds[name] = math.inf
        for _ in range(4):
            start = time.perf_counter()
            run(layer, F, x)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    best = {who: min((s for n, s in seconds.items() if who in n), default=0.0) for who in ("torchdeq", "")}
    limit = {n: 4 * best["torchdeq" if "torchdeq" in n else ""] for n in candidates}
    return {n: c for n, c in candidates.items() if n == "auto" or seconds[n] <= limit[n]}


def timed(candidates: dict[str, Call], F: SkewField, x: Tensor, **floor: Callable[[], object]) -> Times:
    """Milliseconds a call in each of the rounds, for those that stand a chance and for the floor."""
    runs = {name: lambda layer=layer: run(layer, F, x) for name, layer in hopeful(candidates, F, x).items()}
    return turns(runs | floor, rounds=ROUNDS, calls=CALLS)


def fastest(times: Times, who: str = "") -> str | None:
    return min((n for n in times if n.startswith(who)), key=lambda n: statistics.median(times[n]), default=None)


def solves_alone(F: SkewField, x: Tensor) -> Callable[[], object]:
    """As many solves of a batch of d × d systems as Newton's method needs for this problem, forward and backward."""
    d = x.shape[1]
    equation = Equation(F, (x + 0.5 * F(x)).detach(), torch.tensor(0.5), jacobian=F.jacobian)
    count = SOLVERS["newton"](equation, x.detach(), tol=1e-5, max_iter=60)[1] + 1
    A, b = torch.eye(d) + 0.1 * torch.randn(BATCH, d, d, generator=torch.Generator().manual_seed(0)), x.detach()
    return lambda: [torch.linalg.solve_ex(A, b) for _ in range(count)]


def compare(width: int, size: float, solver: str) -> dict:
    """Our solver against the best of torchdeq's on one problem."""
    F, x = problem(width, size)
    truth = reference(F, x)
    every = {f"ours {tol:g}": ours(F, solver, tol) for tol in TOLERANCES}
    every |= {f"torchdeq {name} {tol:g}": peer(F, name, tol) for name in PEERS for tol in TOLERANCES}
    right = {name: layer for name, layer in every.items() if accurate(layer, F, x, truth)}
    times = timed(right, F, x, floor=solves_alone(F, x))
    best = {who: fastest(times, who) for who in ("ours", "torchdeq")}
    ratio = over(times, best["torchdeq"], best["ours"]) if all(best.values()) else None
    return {"width": width, "h_lip": size, "solver": solver, "best": best, "ms": spreads(times), "ratio": ratio}


def automatic(width: int, size: float) -> dict:
    """solver="auto" against the best fixed choice on one problem, all to the same residual; those that fail are out."""
    F, x = problem(width, size)
    candidates = {name: ours(F, name, 2e-6) for name in (*SOLVERS, "auto") if name != "gradient_descent"}
    right = {}
    for name, layer in candidates.items():
        with contextlib.suppress(ConvergenceError):
            run(layer, F, x)
            right[name] = layer
    times = timed(right, F, x)
    best = fastest({name: t for name, t in times.items() if name != "auto"})
    return {"width": width, "h_lip": size, "best": best, "ms": spreads(times), "ratio": over(times, "auto", best)}


def stiff(width: int) -> dict:
    """θh‖J‖ = 4, ten fields: samples that undamped and damped Newton leave unsolved, and what torchdeq returns."""
    left = {"undamped": 0, "damped": 0}
    worst = 0.0
    for seed in range(10):
        draw = torch.Generator().manual_seed(seed)
        F = SkewField(width, generator=draw, dtype=torch.float64)
        with torch.no_grad():
            F.K *= 8 / torch.linalg.matrix_norm(F.matrix(), 2)
            x = 3 * torch.randn(BATCH, width, generator=draw, dtype=torch.float64)
            equation = Equation(F, x + 0.5 * F(x), torch.tensor(0.5, dtype=torch.float64), jacobian=F.jacobian)
            for name in left:
                _, _, r = SOLVERS["newton"](equation, x, tol=1e-10, max_iter=60, damped=name == "damped")
                left[name] += int((r > 1e-10).sum())
        single = SkewField(width)
        single.load_state_dict(F.state_dict())
        y = x.float().requires_grad_()
        gradient = run(peer(single, "fixed_point_iter", 1e-6), single, y)[1]
        worst = max(worst, gradient.norm().item())
    return {"width": width, "samples": 10 * BATCH, "unsolved": left, "torchdeq_largest_gradient_norm": worst}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    result = about("torchdeq") | {
        "batch": BATCH, "rounds": ROUNDS,
        "newton": [compare(d, size, "newton") for d in (2, 3, 5) for size in (1.0, 1.8)],
        "fixed_point": [compare(d, size, "fixed_point") for d in (8, 16, 32, 64) for size in (0.5, 1.0)],
        "auto": [automatic(d, size) for d in (2, 3, 5, 8, 16, 32, 64) for size in (0.5, 1.0, 2.0, 4.0, 8.0)],
        "stiff": [stiff(d) for d in (2, 5)],
    }
    keep("implicit_torchdeq", result)
    for row in result["newton"] + result["fixed_point"]:
        ratio = row["ratio"]["median"] if row["ratio"] else math.nan
        print(f"{row['solver']:12s} width {row['width']:2d}, h·Lip {row['h_lip']}: {ratio:.2f} times faster than "
              f"{row['best']['torchdeq']}")
    for row in result["auto"]:
        print(f"auto width {row['width']:2d}, h·Lip {row['h_lip']}: {row['ratio']['median']:.2f} of the best "
              f"({row['best']})")
    for row in result["stiff"]:
        print(f"stiff width {row['width']}: unsolved {row['unsolved']} of {row['samples']}; "
              f"torchdeq's gradient norm up to {row['torchdeq_largest_gradient_norm']:.1e}")


if __name__ == "__main__":
    main()
