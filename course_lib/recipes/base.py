"""What every recipe is made of, and how one is run: seed by seed, resumed where it stopped, recorded as it goes."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import records
from ..data import ImageData, digits
from ..records import Record, Run
from ..train.device import find_device


def setting(default, help: str):
    """A field of a recipe's configuration: its published value, and what it is."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Setup:
    """Where and how to run: what may differ from machine to machine without changing the experiment."""

    seeds: tuple[int, ...] = (0,)
    folder: str | None = None  # of the data
    verify: bool = True
    data_name: str | None = None  # what the record calls data that are not the published files
    out: str | None = None  # folder for the record and the checkpoints; None keeps nothing
    small: bool = False
    preset: str = "published"
    device: str = "auto"
    precision: str = "auto"
    compile: bool | str = "auto"
    progress: bool | str = "auto"
    deadline: float = math.inf  # of time.monotonic(): training stops there, and is recorded as far as it got
    fabric: Any = None

    def name_of(self, published: str) -> str:
        """The name of a data set in the record: the published one for verified files alone."""
        return published if self.verify else self.data_name or f"{published}, altered copy"

    @property
    def leader(self) -> bool:
        return self.fabric is None or self.fabric.global_rank == 0

    @property
    def processes(self) -> int:
        return 1 if self.fabric is None else self.fabric.world_size

    def torch_device(self) -> torch.device:
        if self.fabric is not None:
            return self.fabric.device
        return find_device(self.device)

    def fit_options(self) -> dict:
        """Arguments of `train.fit` that follow from the setup."""
        return {k: getattr(self, k) for k in ("device", "precision", "compile", "progress", "deadline", "fabric")}


@dataclass(frozen=True)
class Recipe:
    """A published experiment.

    config   a frozen dataclass of settings whose defaults are the published ones
    small    what the small configuration changes, so that it runs in seconds anywhere and needs no files
    presets  named changes besides, such as a faster schedule
    wanted   what sets apart each run that the book wants recorded: arguments of `configure`
    load     (config, setup) -> data, with `name` and `checksum`
    run      (config, data, seeds, setup, checkpoint) -> one Run a seed; checkpoint(seed) is a path or None
    label    config -> what tells its variants apart in file names
    """

    name: str
    summary: str
    config: type
    small: dict
    load: Callable[[Any, Setup], Any]
    run: Callable[..., Iterator[Run]]
    label: Callable[[Any], str]
    presets: dict[str, dict] = field(default_factory=dict)
    wanted: tuple[dict, ...] = ()

    def configure(self, *, small: bool = False, preset: str = "published", **changes):
        """The configuration: published values, then the preset, then the small ones, then the changes."""
        if preset != "published" and preset not in self.presets:
            raise ValueError(f"preset={preset!r} is unknown: give published{''.join(', ' + p for p in self.presets)}")
        values = {**self.presets.get(preset, {}), **(self.small if small else {}), **changes}
        return replace(self.config(), **values)


def execute(recipe: Recipe, config, setup: Setup) -> Record:
    """Run a recipe over `setup.seeds` and return the record, written to `setup.out` after every seed.

    Seeds that the file already holds are not run again; ValueError if it holds another configuration. A seed that is
    interrupted is recorded as far as it got, in a record that is not complete, and goes on from its checkpoint when the
    recipe is run again.
    """
    data = recipe.load(config, setup)
    record = records.new(
        recipe.name,
        asdict(config),
        data={"name": data.name, "sha256": data.checksum},
        device=setup.torch_device(),
        processes=setup.processes,
        small=setup.small,
    )
    path, checkpoint = None, lambda seed: None
    if setup.out is not None:
        variant = setup.preset if setup.preset != "published" else ""
        stem = "-".join(filter(None, (recipe.name, recipe.label(config), variant, "small" * setup.small)))
        path = Path(setup.out) / f"{stem}.json"
        # A checkpoint of other settings or data has another name, so that no run goes on from it.
        digest = hashlib.sha256(repr((asdict(config), data.checksum)).encode()).hexdigest()[:8]
        checkpoint = lambda seed: Path(setup.out) / "checkpoints" / f"{stem}-{digest}-seed{seed}.pt"  # noqa: E731
        if path.exists():
            before = records.read(path)
            if (before.config, before.data) != (_plain(record.config), record.data):
                raise ValueError(f"{path} holds another configuration or data set: give another --out or move it away")
            record = extended(before, record)
            record = replace(record, complete=set(setup.seeds) <= set(record.seeds))
    missing = [seed for seed in dict.fromkeys(setup.seeds) if seed not in record.seeds]
    if path is not None and path.exists() and not missing and setup.leader:  # complete, if fewer seeds are asked for
        records.write(record, path)
    for run in recipe.run(config, data, missing, setup, checkpoint):
        interrupted = run.history.stopped == "interrupted"
        if run.final:
            seeds = {run.seed, *record.seeds}
            complete = set(setup.seeds) <= seeds and not interrupted
            record = replace(record, runs=[*record.runs, run], complete=complete)
            if path is not None and setup.leader:
                records.write(record, path)
        if interrupted:
            where = f"interrupted at seed {run.seed}, epoch {run.history.epochs}"
            then = "the same command goes on from there" if setup.out else "nothing was kept (give --out)"
            print(f"{where}; {then}", file=sys.stderr)
            break
    return record


def extended(before: Record, now: Record) -> Record:
    """The record `before` as it goes on now: without interrupted runs, and naming all devices and versions."""

    def both(a: dict[str, str], b: dict[str, str]) -> dict[str, str]:
        return {k: ", then ".join(dict.fromkeys([*a.get(k, v).split(", then "), v])) for k, v in b.items()}

    runs = [run for run in before.runs if run.history.stopped != "interrupted"]
    if not runs:
        return replace(now, note=before.note)
    device, versions = both(before.device, now.device), both(before.versions, now.versions)
    return replace(before, runs=runs, device=device, versions=versions)


def missing(recipe: Recipe, made: list[Record]) -> list[str]:
    """The commands for those runs that the book wants recorded and that are not among the records `made`."""
    return [f"python -m course_lib run {recipe.name} {' '.join(w)} --data FOLDER" for w in wanting(recipe, made)]


def wanting(recipe: Recipe, made: list[Record]) -> list[list[str]]:
    """The options of ``run`` for each of these runs."""
    have = [r.config for r in made if r.recipe == recipe.name and r.complete and not r.small]
    wanted = [w for w in recipe.wanted if _plain(asdict(recipe.configure(**w))) not in have]
    return [[part for name, value in w.items() for part in (f"--{name}", str(value))] for w in wanted]


def _plain(config: dict) -> dict:
    """As JSON gives it back: tuples are lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}


def enlarged_digits(size: int, channels: int, *, n: int, n_test: int) -> ImageData:
    """The embedded digits as images of another size, for small configurations that must need no files."""
    split = digits(seed=0)
    images = []
    for x in (split.x[:n], split.x_val[:n_test]):
        big = nn.functional.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
        images.append((255 * big).round().to(torch.uint8).expand(-1, channels, -1, -1).contiguous())
    y, y_test = split.y[:n], split.y_val[:n_test]
    digest = hashlib.sha256(b"".join(t.numpy().tobytes() for t in (*images, y, y_test))).hexdigest()
    name = f"digits, 8x8 enlarged to {size}x{size}, {n} + {n_test}"
    return ImageData(images[0], y, images[1], y_test, name, digest)


def parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """make() with torch's random state set to the seed, and given back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
