"""Neural ODEs fitted to a target loss, whole process: ``python benchmarks/fits.py [--only spiral]``.

Every fit runs in a process of its own, timed from outside: imports and compilation count. Candidates take turns, five
rounds, a seed a round, all from the same initial weights and on the same data. What a process hands back is its
weights; they are judged here, by scipy's rollout at a tight tolerance, and a fit that misses the target has not
arrived: its time is then what it was given before it was stopped (`cap`, in processor seconds). The learning rate of
Adam on the whole rollout is the best of a list, found on a seed that does not count. One thread. Ratios of processor
seconds are what other work on the machine disturbs least.

Peers that are not installed are left out and said to be. Pelts: six parameters on the Hudson's Bay series, in this
library alone, timed inside the process, after the imports.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import about, keep, kept
from scipy.integrate import solve_ivp

HERE = Path(__file__).parent
ROUNDS, TUNING_SEED = 5, 100
CLOCKS = ("wall", "cpu", "fit", "fit cpu")  # seconds of the whole process, and of the fit after the imports
PROBLEMS = {
    "spiral": {"end": 1.5, "points": 16, "x0": (2.0, 0.0), "width": 50, "target": 1e-3, "cap": 25.0},
    "lotka_volterra": {"end": 10.0, "points": 101, "x0": (1.0, 1.0), "width": 32, "target": 1e-2, "cap": 24.0},
}
OURS = ("ours, Levenberg–Marquardt", "ours, shooting with Adam")
PACKAGES = ("torchdiffeq", "torchdyn", "torchode", "jax", "diffrax", "optax")
TUNER = "JAX RK4, optax Adam"
RATES = (0.01, 0.03, 0.1)  # of Adam on the whole rollout, tried through TUNER, which is quick; the best serves all
SHOOTING_RATE = 0.03
EVALUATIONS = 100_000  # of a field that is judged; those that were fitted need some hundreds
PEERS = (
    "torchdiffeq dopri5, Adam", "torchdyn dopri5, Adam", "torchode Dopri5, Adam", "diffrax Tsit5, optax Adam",
    "JAX RK4, optax Adam",
    "torchdiffeq rk4, shooting with Adam", "torchdyn rk4, shooting with Adam", "torchode Dopri5, shooting with Adam",
    "diffrax Tsit5, shooting with optax Adam", "JAX RK4, shooting with optax Adam",
    "diffrax Tsit5, Levenberg–Marquardt as ours", "JAX RK4, Levenberg–Marquardt as ours",
)  # fmt: skip


def truth(problem: str, x: np.ndarray) -> np.ndarray:
    """The field behind the data, x (2,)."""
    if problem == "spiral":
        return np.array([[-0.1, 2.0], [-2.0, -0.1]]) @ x**3
    return np.array([1.5 * x[0] - x[0] * x[1], x[0] * x[1] - 3.0 * x[1]])


def data(problem: str) -> tuple[np.ndarray, np.ndarray]:
    p = PROBLEMS[problem]
    t = np.linspace(0, p["end"], p["points"])
    found = solve_ivp(lambda s, x: truth(problem, x), (0, p["end"]), p["x0"], t_eval=t, rtol=1e-10, atol=1e-10)
    return t, found.y.T


def initial(problem: str, seed: int) -> list[np.ndarray]:
    """Weights of 2-width-2, drawn as torch's linear layers are: (width, 2), (width,), (2, width), (2,)."""
    width, draw = PROBLEMS[problem]["width"], np.random.default_rng(seed)
    shapes = ((width, 2), (width,), (2, width), (2,))
    return [draw.uniform(-1, 1, s) / np.sqrt(fan) for s, fan in zip(shapes, (2, 2, width, width), strict=True)]


def judged(problem: str, weights: list[np.ndarray], x0) -> float:
    """Mean squared error of the learned field's solution from x0, by scipy; infinite where that takes too long."""
    W, b, V, c = weights
    t, y = data(problem)
    left = iter(range(EVALUATIONS))

    def field(s, x):
        next(left)
        return V @ np.tanh(W @ (x**3 if problem == "spiral" else x) + b) + c

    try:
        found = solve_ivp(field, (0, t[-1]), x0, t_eval=t, rtol=1e-8, atol=1e-8)
    except StopIteration:  # weights that Adam has thrown far off make a field of steep walls
        return float("inf")
    return float(np.mean((found.y.T - y) ** 2)) if found.success else float("inf")


def once(name: str, problem: str, seed: int, lr: float | None) -> dict:
    """One fit in a fresh process: wall and processor seconds of all of it, those of the fit, and the verdict."""
    t, y = data(problem)
    with tempfile.TemporaryDirectory() as folder:
        task = {"problem": problem, "lr": lr, **PROBLEMS[problem], "name": name}
        np.savez(Path(folder) / "in.npz", *initial(problem, seed), t=t, y=y)
        (Path(folder) / "task.json").write_text(json.dumps(task))
        script = "fits_jax.py" if name.startswith(("diffrax", "JAX")) else "fits_torch.py"
        env = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, str(HERE / "peers" / script), folder]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{name}, {problem}, seed {seed}: {done.stderr[-2000:]}")
        result = json.loads((Path(folder) / "out.json").read_text())
        found = np.load(Path(folder) / "out.npz")
        loss = judged(problem, [found[f"arr_{i}"] for i in range(4)], PROBLEMS[problem]["x0"])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    arrived = loss <= 1.02 * PROBLEMS[problem]["target"]  # their solvers and scipy's differ a little
    return {"wall": wall, "cpu": cpu, "loss": loss, "arrived": arrived, **result}


def compare(problem: str, peers: list[str], add: Callable[[dict], None]) -> None:
    """All candidates in turns; after each round add(what is known by then) is called."""
    rates, best = {}, max(RATES)
    if TUNER in peers:
        rates = {lr: once(TUNER, problem, TUNING_SEED, lr) for lr in RATES}
        arrived = {lr: run["fit cpu"] for lr, run in rates.items() if run["arrived"]}
        best = min(arrived, key=arrived.get) if arrived else min(rates, key=lambda lr: rates[lr]["loss"])
    rounds = {name: [] for name in (*OURS, *peers)}
    for seed in range(ROUNDS):
        for name, runs in rounds.items():
            lr = SHOOTING_RATE if "shooting" in name else best
            runs.append(once(name, problem, seed, lr))
            print(problem, name, seed, runs[-1], flush=True)
        add({**PROBLEMS[problem], "rounds": seed + 1, "lr": best, "table": table(rounds), "rates tried": rates})


def table(rounds: dict[str, list[dict]]) -> dict:
    """Medians; ratios are medians over the rounds of a candidate's time over ours in the same round."""
    rows = {}
    for name, runs in rounds.items():
        row = {key: statistics.median(r[key] for r in runs) for key in (*CLOCKS, "loss", "evaluations")}
        for key in CLOCKS:
            pairs = zip(runs, rounds[OURS[0]], strict=True)
            row[f"{key} over ours"] = statistics.median(r[key] / o[key] for r, o in pairs)
        rows[name] = row | {"arrived": sum(r["arrived"] for r in runs), "of": len(runs), "runs": runs}
    return rows


def own(which: str) -> dict:
    """What this library alone is timed on, in a fresh process."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    runs = []
    for _ in range(ROUNDS):
        done = subprocess.run([sys.executable, str(HERE / "peers" / "fits_own.py"), which], env=env,
                              capture_output=True, text=True, check=True)  # fmt: skip
        runs.append(json.loads(done.stdout))
    return {key: statistics.median(r[key] for r in runs) if isinstance(runs[0][key], float) else runs[0][key]
            for key in runs[0]} | {"rounds": ROUNDS}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=(*PROBLEMS, "ten_seeds", "pelts"))
    options = parser.parse_args()
    there = [name for name in PACKAGES if importlib.util.find_spec(name)]
    peers = [name for name in PEERS if name.split()[0].lower() in there]
    here = about(*there) | {"missing": [name for name in PEERS if name not in peers]}
    result = here | (kept("fits") if options.only else {})

    def add(name: str, found: dict) -> None:
        result[name] = found | {"machine": here["machine"]}  # the parts may come from several
        keep("fits", result)

    for which in ("ten_seeds", "pelts"):
        if options.only in (None, which):
            add(which, own(which))
    for problem in PROBLEMS:
        if options.only in (None, problem):
            compare(problem, peers, lambda found, problem=problem: add(problem, found))
    for problem in PROBLEMS:
        for name, row in result.get(problem, {"table": {}})["table"].items():
            print(f"{problem:14s} {name:42s} process {row['cpu']:6.2f} s ({row['cpu over ours']:5.1f}), fit "
                  f"{row['fit cpu']:6.2f} s ({row['fit cpu over ours']:6.1f}), arrived {row['arrived']} of {row['of']}")
    print({which: result.get(which) for which in ("ten_seeds", "pelts")})


if __name__ == "__main__":
    main()
