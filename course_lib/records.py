"""Recorded runs: what a recipe did once, as JSON that pages and tests read, so that nobody types a figure.

A record holds

    schema     1
    recipe     the recipe's name;  config: every setting it ran with;  small: whether it was the small configuration
    data       {"name", "sha256"} of what it was trained and tested on
    device     {"type", "name"};   versions: {"python", "torch", "course_lib", ...}
    runs       one entry a seed: {"seed", "history", "final"}: `train.History.to_dict()`, and name -> number
    complete   false while seeds are still missing
    note       what a reader must know, or ""

It is checked when it is written and again when it is read: RecordError names the file and the field at fault.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from statistics import mean, stdev

import torch

from . import __version__
from .train.history import History

SCHEMA = 1


class RecordError(ValueError):
    """A record is not of the schema; the message names the file and the field."""


@dataclass(frozen=True)
class Run:
    """One seed: its history, and its final figures by name."""

    seed: int
    history: History
    final: dict[str, float]


@dataclass(frozen=True)
class Record:
    """A recorded run of a recipe over some seeds; fields as in the module's description."""

    recipe: str
    config: dict
    data: dict[str, str]
    device: dict[str, str]
    versions: dict[str, str]
    runs: list[Run] = field(default_factory=list)
    small: bool = False
    complete: bool = False
    note: str = ""

    @property
    def seeds(self) -> list[int]:
        return [run.seed for run in self.runs]

    def values(self, name: str) -> list[float]:
        """The final figure `name` of every seed. KeyError lists the figures there are."""
        try:
            return [run.final[name] for run in self.runs]
        except KeyError:
            have = ", ".join(self.runs[0].final)
            raise KeyError(f"{self.recipe} recorded no {name!r}: have {have}") from None

    def mean(self, name: str) -> float:
        return mean(self.values(name))

    def spread(self, name: str) -> float:
        """Sample standard deviation over the seeds; 0 for a single one."""
        values = self.values(name)
        return stdev(values) if len(values) > 1 else 0.0


def new(
    recipe: str,
    config: dict,
    *,
    data: dict[str, str],
    device: torch.device,
    processes: int = 1,
    small: bool = False,
    note: str = "",
) -> Record:
    """A record without runs yet, of this machine and these library versions."""
    return Record(recipe, config, data, describe(device, processes), versions(), small=small, note=note)


def describe(device: torch.device, processes: int = 1) -> dict[str, str]:
    """The device in words: a GPU by its name, a CPU by its kind and the threads that torch uses; how many of them."""
    name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return {"type": device.type, "name": name if processes == 1 else f"{processes} processes, each {name}"}


def versions() -> dict[str, str]:
    """Of Python and of every library that a figure could depend on; the course itself need not be installed."""
    found = {"python": platform.python_version(), "course_lib": __version__}
    for name in ("torch", "torchdiffeq", "numpy"):
        found[name] = metadata.version(name)
    return found


def write(record: Record, path: str | os.PathLike) -> Path:
    """Check the record and write it, atomically; returns the path. Raises RecordError."""
    path = Path(path)
    plain = {"schema": SCHEMA, **{f.name: getattr(record, f.name) for f in fields(record)}}
    plain["runs"] = [{**asdict(run), "history": run.history.to_dict()} for run in record.runs]
    _check(plain, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(_dumps(plain), encoding="utf-8")
    os.replace(part, path)
    return path


def read(path: str | os.PathLike) -> Record:
    """The record in a file. Raises RecordError for one that is not JSON or not of the schema."""
    path = Path(path)
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: is not a readable JSON file ({error})") from error
    _check(plain, path)
    runs = [Run(run["seed"], History.from_dict(run["history"]), run["final"]) for run in plain.pop("runs")]
    del plain["schema"]
    return Record(**plain, runs=runs)


def read_all(folder: str | os.PathLike, *, recipe: str | None = None, **settings) -> list[Record]:
    """All records of a folder, in the order of their names; only those of a recipe and with the settings given."""
    records = [read(path) for path in sorted(Path(folder).glob("*.json"))]
    return [r for r in records if recipe in (None, r.recipe) and all(r.config.get(k) == v for k, v in settings.items())]


_KINDS = {
    "recipe": str, "config": dict, "data": dict, "device": dict, "versions": dict, "runs": list, "small": bool,
    "complete": bool, "note": str,
}  # fmt: skip
_LISTS = [f.name for f in fields(History) if str(f.type).startswith("list")]


def _check(plain, path: Path) -> None:
    def need(true: bool, what: str) -> None:
        if not true:
            raise RecordError(f"{path}: {what}")

    need(isinstance(plain, dict), "is not a JSON object")
    need(plain.get("schema") == SCHEMA, f"schema is {plain.get('schema')!r}, not {SCHEMA}")
    need(
        plain.keys() - {"schema"} == _KINDS.keys(),
        f"fields differ from the schema's: {sorted(plain.keys() ^ _KINDS.keys())}",
    )
    for name, kind in _KINDS.items():
        need(isinstance(plain[name], kind), f"{name} is a {type(plain[name]).__name__}, not a {kind.__name__}")
    need(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", plain["recipe"]) is not None, f"recipe {plain['recipe']!r} is no name")
    need(re.fullmatch(r"[0-9a-f]{64}", plain["data"].get("sha256", "")) is not None, "data.sha256 is no SHA-256")
    need(bool(plain["data"].get("name")), "data.name is missing")
    need(plain["device"].keys() == {"type", "name"}, "device must have type and name")
    need({"python", "torch", "course_lib"} <= plain["versions"].keys(), "versions must have python, torch, course_lib")
    seeds = [run.get("seed") for run in plain["runs"] if isinstance(run, dict)]
    need(
        len(set(seeds)) == len(plain["runs"]) and all(isinstance(s, int) for s in seeds),
        "runs must have seeds, each once",
    )
    need(not plain["complete"] or bool(seeds), "is called complete without a run")
    for run in plain["runs"]:
        where = f"run of seed {run['seed']}: "
        need(run.keys() == {"seed", "history", "final"}, where + "must have seed, history and final")
        need(bool(run["final"]), where + "has no final figures")
        for name, value in run["final"].items():
            finite = isinstance(value, int | float) and math.isfinite(value)
            need(finite, where + f"final.{name} is {value!r}, not a finite number")
        history = run["history"]
        need(history.keys() == {f.name for f in fields(History)}, where + "history has other fields than train.History")
        lengths = {len(history[name]) for name in _LISTS} | {len(v) for v in history["metrics"].values()}
        need(len(lengths) == 1, where + "history's lists differ in length")


def _dumps(plain: dict) -> str:
    """JSON with one line a list of numbers, so that a diff of two records can be read."""
    text = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s+", " ", m.group()), text) + "\n"
