"""Every check of the course in one command: ``python -m course_lib.authoring.gate [STEP ...]``.

Runs all steps even after one has failed, and ends with what failed, so that the end of a long log says it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

PYTHON = [sys.executable, "-m"]
# One notebook after another: two processes that start kernels at once may pick the same free port, and one dies of it.
NBVAL = [*PYTHON, "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
STEPS: dict[str, tuple[str, list[str]]] = {
    "lint": ("style of the code", [*PYTHON, "ruff", "check", "."]),
    "spelling": ("spelling, and one convention of it", [*PYTHON, "course_lib.authoring.spelling"]),
    "drift": ("notebooks are what their masters give", [*PYTHON, "course_lib.authoring.exercises", "--check"]),
    "book": ("every page executes and builds without a warning", [*PYTHON, "course_lib.authoring.build"]),
    "library": ("library, notebooks in three states, built pages", [*PYTHON, "pytest", "-q", "-n", "2", "tests"]),
    "notebooks": ("solution and trainer notebooks run and say what they said", NBVAL),
}


def notebooks(root: Path) -> list[str]:
    """The notebooks that nbval runs: every solution, and the trainers' under tests/."""
    return [str(p) for folder in ("solutions", "tests/notebooks") for p in sorted((root / folder).glob("*.ipynb"))]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course_lib.authoring.gate", description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)} (default: all)")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.steps if name not in STEPS]:
        parser.error(f"no step {unknown[0]!r}; the steps are {', '.join(STEPS)}")
    root = Path.cwd()
    if not (root / "_toc.yml").exists():
        parser.error(f"{root} is not the course's repository (no _toc.yml); run this in its root folder")

    failed = []
    steps = options.steps or list(STEPS)
    # Two workers a machine of two cores; threads on top of them only get in each other's way.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    for name in steps:
        meaning, command = STEPS[name]
        command = command + notebooks(root) if name == "notebooks" else command
        print(f"\n== {name}: {meaning}", flush=True)
        start = time.monotonic()
        status = subprocess.run(command, cwd=root, env=environment).returncode
        print(f"== {name}: {'ok' if status == 0 else 'FAILED'} in {time.monotonic() - start:.0f} s", flush=True)
        failed += [name] * (status != 0)
    if steps == ["book"] and not failed:
        print(f"\nRead the book: {(root / '_build/html/index.html').as_uri()}")
    else:
        print("\n" + "".join(f"failed: {name} ({STEPS[name][0]}); run it alone: {' '.join(STEPS[name][1][:4])} ...\n"
                             for name in failed) + f"{len(steps) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
