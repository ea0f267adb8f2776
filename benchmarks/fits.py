"""Neural ODEs fitted to a target loss, whole process: ``python benchmarks/fits.py [--peers PYTHON] [--only spiral]``.

Every fit runs in a process of its own, timed from outside: imports and compilation count. Candidates take turns, five
rounds, a seed a round, all from the same initial weights and on the same data. What a process hands back is its
weights; they are judged here, by scipy's rollout at a tight tolerance, and a fit that misses the target has not
arrived: its time is then what it was given before it was stopped (`cap`, in processor seconds). The learning rate of
Adam on the whole rollout is the best of a list, found on a seed that does not count. One thread. Ratios of processor
seconds are what other work on the machine disturbs least.

The peers need benchmarks/requirements-fits.txt, best in an environment of their own, whose python `--peers` names.
Pelts: six parameters on the Hudson's Bay series, in this library alone, timed inside the process, after the imports.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

HERE = Path(__file__).parent
ROUNDS, TUNING_SEED = 5, 100
CLOCKS = ("wall", "cpu", "fit", "fit cpu")  # seconds of the whole process, and of the fit after the imports
PROBLEMS = {
    "spiral": {"end": 1.5, "points": 16, "x0": (2.0, 0.0), "width": 50, "target": 1e-3, "cap": 25.0},
    "lotka_volterra": {"end": 10.0, "points": 101, "x0": (1.0, 1.0), "width": 32, "target": 1e-2, "cap": 24.0},
}
OURS = ("ours, Levenberg–Marquardt", "ours, shooting with Adam")
RATES = (0.03, 0.1)  # of Adam on the whole rollout, tried through diffrax, which is quick; the best serves both
SHOOTING_RATE = 0.03
PEERS = (
    "torchdiffeq dopri5, Adam", "diffrax Tsit5, optax Adam", "torchdiffeq rk4, shooting with Adam",
    "diffrax Tsit5, shooting with optax Adam", "diffrax, Levenberg–Marquardt as ours",
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
    """Mean squared error of the learned field's solution from x0, by scipy."""
    W, b, V, c = weights
    t, y = data(problem)

    def field(s, x):
        return V @ np.tanh(W @ (x**3 if problem == "spiral" else x) + b) + c

    found = solve_ivp(field, (0, t[-1]), x0, t_eval=t, rtol=1e-8, atol=1e-8)
    return float(np.mean((found.y.T - y) ** 2)) if found.success else float("inf")


def once(python: str, name: str, problem: str, seed: int, lr: float | None) -> dict:
    """One fit in a fresh process: wall and processor seconds of all of it, those of the fit, and the verdict."""
    t, y = data(problem)
    with tempfile.TemporaryDirectory() as folder:
        task = {"problem": problem, "lr": lr, **PROBLEMS[problem], "name": name}
        np.savez(Path(folder) / "in.npz", *initial(problem, seed), t=t, y=y)
        (Path(folder) / "task.json").write_text(json.dumps(task))
        script = "fits_jax.py" if name.startswith("diffrax") else "fits_torch.py"
        env = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([python, str(HERE / "peers" / script), folder], env=env, capture_output=True, text=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"{name}, {problem}, seed {seed}: {done.stderr[-2000:]}")
        result = json.loads((Path(folder) / "out.json").read_text())
        found = np.load(Path(folder) / "out.npz")
        loss = judged(problem, [found[f"arr_{i}"] for i in range(4)], PROBLEMS[problem]["x0"])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    arrived = loss <= 1.02 * PROBLEMS[problem]["target"]  # their solvers and scipy's differ a little
    return {"wall": wall, "cpu": cpu, "loss": loss, "arrived": arrived, **result}


def compare(problem: str, python: str | None, keep) -> None:
    """All candidates in turns; after each round keep(table, rates tried) is called."""
    rates, best = {}, None
    if python:
        rates = {lr: once(python, "diffrax Tsit5, optax Adam", problem, TUNING_SEED, lr) for lr in RATES}
        arrived = {lr: run["fit cpu"] for lr, run in rates.items() if run["arrived"]}
        best = min(arrived, key=arrived.get) if arrived else min(rates, key=lambda lr: rates[lr]["loss"])
    rounds = {name: [] for name in (*OURS, *(PEERS if python else ()))}
    for seed in range(ROUNDS):
        for name, runs in rounds.items():
            lr = SHOOTING_RATE if "shooting" in name else best
            runs.append(once(sys.executable if name in OURS else python, name, problem, seed, lr))
            print(problem, name, seed, runs[-1], flush=True)
        keep({**PROBLEMS[problem], "rounds": seed + 1, "lr": best, "table": table(rounds), "rates tried": rates})


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
    parser.add_argument("--peers", help="python of the environment that holds the peers; without it, ours alone")
    parser.add_argument("--only", choices=(*PROBLEMS, "ten_seeds", "pelts"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "fits.json")
    options = parser.parse_args()
    result = {}
    with contextlib.suppress(FileNotFoundError):
        result = json.loads(options.out.read_text())
    result |= {"machine": platform.machine(), "python": platform.python_version(), "cores": os.cpu_count()}

    def keep(name: str, found: dict) -> None:
        result[name] = found
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")

    for which in ("ten_seeds", "pelts"):
        if options.only in (None, which):
            keep(which, own(which))
    for problem in PROBLEMS:
        if options.only in (None, problem):
            compare(problem, options.peers, lambda found, problem=problem: keep(problem, found))
    for problem in PROBLEMS:
        for name, row in result.get(problem, {"table": {}})["table"].items():
            print(f"{problem:14s} {name:42s} process {row['cpu']:6.2f} s ({row['cpu over ours']:5.1f}), fit "
                  f"{row['fit cpu']:6.2f} s ({row['fit cpu over ours']:6.1f}), arrived {row['arrived']} of {row['of']}")
    print({which: result.get(which) for which in ("ten_seeds", "pelts")})


if __name__ == "__main__":
    main()
