"""The commands ``list``, ``run NAME``, ``record NAME`` and ``data NAME`` of ``python -m course_lib``."""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import fields
from pathlib import Path

import torch

from ..integrators import SolveError
from ..records import read_all
from ..train import scale
from . import MODULES, Setup, execute, recipe, wanting
from .signals import attended, terminate_as_interrupt


def add_commands(subparsers) -> None:
    """Add the commands to `argparse`'s subparsers; each sets `command_function`, a function of the arguments."""
    listing = subparsers.add_parser("list", help="list the recipes")
    listing.set_defaults(command_function=list_recipes)
    data = subparsers.add_parser("data", help="download a data set, checked, into the user's cache")
    data.add_argument("name", choices=["mnist", "cifar-10"])
    data.set_defaults(command_function=fetch_data)
    run = subparsers.add_parser("run", help="run a recipe", add_help=False)
    run.add_argument("name", nargs="?", metavar="NAME", help="of a recipe; `run NAME --help` lists its settings")
    run.add_argument("rest", nargs=argparse.REMAINDER)
    run.set_defaults(command_function=run_recipe)
    record = subparsers.add_parser("record", help="run what the book wants recorded of a recipe and has not yet")
    record.add_argument("name", metavar="NAME")
    record.add_argument("rest", nargs=argparse.REMAINDER, help="options of `run`; --out and --minutes among them")
    record.set_defaults(command_function=record_missing)


def list_recipes(arguments) -> int:
    for name in MODULES:
        print(f"{name:<22}{recipe(name).summary}")
    return 0


def fetch_data(arguments) -> int:
    from ..data.download import fetch_cifar10, fetch_mnist

    try:
        folder = {"mnist": fetch_mnist, "cifar-10": fetch_cifar10}[arguments.name]()
    except ConnectionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{arguments.name} is in {folder}; give --data {folder}")
    return 0


def run_recipe(arguments) -> int:
    if arguments.name is None or arguments.name.startswith("-"):
        print(f"usage: python -m course_lib run NAME [--help]; recipes: {', '.join(MODULES)}")
        return 0 if arguments.name in {"-h", "--help"} else 2
    try:
        chosen = recipe(arguments.name)
        options = vars(parser(chosen).parse_args(arguments.rest))
        settings = {f.name for f in fields(chosen.config)}
        changes = {k: options.pop(k) for k in list(options) if k in settings}
        threads = options.pop("threads")
        if threads is not None and threads < 1:
            raise ValueError(f"threads={threads}: expected at least 1")
        if threads or options["small"]:  # tensors so small gain nothing from threads, and lose much on a busy machine
            torch.set_num_threads(threads or 1)
        config = chosen.configure(
            small=options["small"], preset=options["preset"], **{k: v for k, v in changes.items() if v is not None}
        )
        deadline = time.monotonic() + 60 * options.pop("minutes")
        fabric = launched(options["device"])
        setup = Setup(**{**options, "seeds": tuple(options["seeds"]), "deadline": deadline, "fabric": fabric})
        with terminate_as_interrupt(setup):
            record = execute(chosen, config, setup)
    except (ValueError, ArithmeticError, ConnectionError, SolveError) as error:
        print(f"{arguments.name}: {error}", file=sys.stderr)
        return 1
    if setup.leader:
        show(record)
    return 0


def record_missing(arguments) -> int:
    """Run what `missing` lists for the recipe, one after another, each in a process of its own; 1 if one fails."""
    try:
        chosen = recipe(arguments.name)
        options = parser(chosen).parse_args(arguments.rest)
        if options.out is None:
            print("record: say where (--out FOLDER)", file=sys.stderr)
            return 2
        wanted = wanting(chosen, read_all(options.out))
    except ValueError as error:  # a record that cannot be read among them
        print(f"record: {error}", file=sys.stderr)
        return 1
    end, failed = time.monotonic() + 60 * options.minutes, 0
    for changes in wanted:
        left = (end - time.monotonic()) / 60
        if left <= 0:
            break
        print(" ".join(["run", chosen.name, *changes]), flush=True)
        limit = [] if left == math.inf else ["--minutes", f"{left:.3f}"]
        command = [sys.executable, "-m", "course_lib", "run", chosen.name, *changes, *arguments.rest, *limit]
        status, signalled = attended(command)
        failed |= status
        if signalled:
            break
    return int(failed != 0)


def launched(device: str):
    """A launched Fabric under torchrun; None for a single process."""
    return scale.launch(accelerator="cpu" if device == "cpu" else "auto") if scale.under_torchrun() else None


def parser(chosen) -> argparse.ArgumentParser:
    """Options of a recipe: those of every run, then one for each setting of its configuration."""
    options = argparse.ArgumentParser(
        prog=f"python -m course_lib run {chosen.name}", description=sys.modules[chosen.run.__module__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    options.add_argument("--small", action="store_true", help="the small configuration: seconds, no files needed")
    options.add_argument("--preset", default="published", choices=["published", *chosen.presets])
    options.add_argument("--data", dest="folder", metavar="FOLDER", help="folder of the data (or COURSE_DATA)")
    options.add_argument("--no-verify", dest="verify", action="store_false", help="take files whose checksum differs")
    options.add_argument("--data-name", metavar="NAME", help='with --no-verify, e.g. "CIFAR-10, JPEG copy"')
    options.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    options.add_argument("--out", type=Path, metavar="FOLDER", help="for the record and checkpoints; resumes from them")
    options.add_argument(
        "--minutes", type=float, default=math.inf, metavar="N",
        help="stop then and record what was reached (recipes that train one seed after another)",
    )  # fmt: skip
    options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    options.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    options.add_argument("--no-compile", dest="compile", action="store_false", help="never use torch.compile")
    options.add_argument(
        "--threads", type=int, metavar="N", help="of the CPU; by default 1 for --small, else torch's own"
    )
    options.add_argument("--quiet", dest="progress", action="store_false", help="no progress bar or lines")
    options.set_defaults(compile="auto", progress=True)
    group = options.add_argument_group("settings, with their published values")
    for f in fields(chosen.config):
        name, default = "--" + f.name.replace("_", "-"), f.default
        text = f"{f.metadata['help']} ({default})".replace("%", "%%")
        if isinstance(default, bool):
            group.add_argument(name, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif isinstance(default, tuple):
            group.add_argument(name, nargs="+", type=type(default[0]), default=None, metavar="N", help=text)
        else:
            group.add_argument(name, type=type(default), default=None, metavar=type(default).__name__, help=text)
    return options


def show(record) -> None:
    """The final figures of a record, one line each: mean, and spread over the seeds."""
    runs = record.runs
    if not runs:
        return
    print(
        f"{record.recipe}{' (small configuration)' if record.small else ''}: {record.data['name']}, "
        f"{record.device['name']}, seeds {', '.join(map(str, record.seeds))}"
    )
    for name in runs[0].final:
        if all(name in run.final for run in runs):
            spread = f" ± {record.spread(name):.3g}" if len(runs) > 1 else ""
            print(f"  {name:<20}{record.mean(name):.6g}{spread}")
