"""What the benchmarks share: taking turns, medians with their spread, and results that say where they come from."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ROUNDS = 7
Times = dict[str, list[float]]


def about(*packages: str) -> dict:
    """The machine, Python and the versions of torch and of the packages named."""
    model = platform.processor() or platform.machine()
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = named[0].split(":")[1].strip() if named else model
    versions = {name: version(name) for name in ("torch", *packages)}
    return {"machine": model, "cores": os.cpu_count(), "python": platform.python_version(), "versions": versions}


def turns(runs: dict[str, Callable[[], object]], *, rounds: int = ROUNDS, calls: int = 1) -> Times:
    """Milliseconds of CPU time a call, for each candidate in each round; in a round all take turns.

    CPU time, on one thread, is what other work on the machine disturbs least. A first call of each does not count.
    """
    times: Times = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            for _ in range(calls):
                run()
            times[name].append(1e3 * (time.process_time() - start) / calls)
    return times


def spread(values: list[float]) -> dict[str, float]:
    """The median, the least and the greatest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def spreads(times: Times) -> dict[str, dict[str, float]]:
    return {name: spread(values) for name, values in times.items()}


def over(times: Times, name: str, other: str) -> dict[str, float]:
    """The time of one candidate over that of another in the same round, and its spread."""
    return spread([a / b for a, b in zip(times[name], times[other], strict=True)])


def keep(name: str, result: dict, *, folder: Path = RESULTS) -> None:
    """Write benchmarks/results/NAME.json, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{name}.json"
    draft.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(folder / f"{name}.json")


def kept(name: str, *, folder: Path = RESULTS) -> dict:
    """What the file holds; an empty dict where there is none."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
