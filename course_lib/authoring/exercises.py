"""Write the notebooks of every master, or compare them with it.

    python -m course_lib.authoring.exercises [--check] [NAME ...]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from .masters import Master, MasterError, notebook, read


def write(path: Path, nb: NotebookNode) -> None:
    """Write a notebook whole or not at all."""
    nbformat.validate(nb)
    temporary = path.with_suffix(".ipynb.part")
    temporary.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def execute(nb: NotebookNode, folder: Path) -> NotebookNode:
    """Run a notebook in a fresh kernel and keep what two runs have in common: no timings, no version of Python."""
    resources = {"metadata": {"path": str(folder)}}
    # Coalesced: how the kernel cuts its output into pieces is a matter of timing.
    NotebookClient(nb, timeout=300, record_timing=False, coalesce_streams=True, resources=resources).execute()
    nb.metadata["language_info"] = {"name": "python"}
    return nb


def without_outputs(nb: NotebookNode) -> NotebookNode:
    """A copy with outputs and execution counts taken out of every code cell."""
    nb = nbformat.from_dict(nb)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def drift(root: Path, master: Master) -> list[str]:
    """What differs between the notebooks on disk and those that the master would give, one line each."""
    faults = []
    for folder, student in (("solutions", False), ("exercises", True)):
        path = root / folder / f"{master.name}.ipynb"
        if not path.exists():
            faults.append(f"{path.relative_to(root)}: missing")
            continue
        stored = nbformat.read(path, as_version=4)
        compared = stored if student else without_outputs(stored)
        if compared != notebook(master, student=student):
            faults.append(f"{path.relative_to(root)}: differs from its master")
        code = [cell for cell in stored.cells if cell.cell_type == "code"]
        if not student and [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
            faults.append(f"{path.relative_to(root)}: was not executed from top to bottom")
    return faults


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course_lib.authoring.exercises", description=__doc__)
    parser.add_argument("names", nargs="*", help="masters to work on (default: all), for example ch1_euler")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a notebook differs")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository (default: here)")
    options = parser.parse_args(argv)

    paths = [options.root / "solutions" / f"{name}.md" for name in options.names]
    paths = paths or sorted((options.root / "solutions").glob("*.md"))
    if missing := [str(path) for path in paths if not path.exists()]:
        parser.error(f"no master {missing[0]}; names are file names in solutions/ without .md")
    try:
        masters = [read(path) for path in paths]
    except MasterError as error:
        print(error, file=sys.stderr)
        return 1
    if options.check:
        faults = [fault for master in masters for fault in drift(options.root, master)]
        print(*faults, f"{len(masters)} masters, {len(faults)} faults; `make exercises` mends them", sep="\n")
        return bool(faults)
    (options.root / "exercises").mkdir(exist_ok=True)
    for master in masters:
        print(f"{master.name}: executing ...", flush=True)
        executed = execute(notebook(master, student=False), options.root / "solutions")
        write(options.root / "solutions" / f"{master.name}.ipynb", executed)
        write(options.root / "exercises" / f"{master.name}.ipynb", notebook(master, student=True))
        marks = sum(ex.points for ex in master.exercises.values())
        minutes = sum(ex.minutes for ex in master.exercises.values())
        print(f"{master.name}: {len(master.exercises)} exercises, {marks} marks, {minutes} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
