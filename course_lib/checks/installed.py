"""Is everything here that the exercises need? Imports nothing heavy until it is asked."""

from __future__ import annotations

import importlib
import sys

from .. import __version__
from .score import CheckFailed

PYTHON = ((3, 11), (3, 14))  # first supported version, first one that is not
NEEDED = {"torch": (2, 6), "numpy": (1, 26), "matplotlib": (3, 9)}


def fault(package: str) -> str | None:
    """What is wrong with a package, with the mend, in one line; None if nothing is."""
    least = ".".join(map(str, NEEDED[package]))
    mend = f'run: {sys.executable} -m pip install "{package}>={least}", then restart the kernel.'
    try:
        version = importlib.import_module(package).__version__
    except (ImportError, OSError) as error:  # OSError: a shared library of torch that does not load
        return f"{package} cannot be imported ({error}); {mend}"
    if tuple(int(part) for part in version.split(".")[:2]) < NEEDED[package]:
        return f"{package} {version} is older than {least}; {mend}"
    return None


def require_torch() -> None:
    """Raise CheckFailed in one line where torch is missing or too old."""
    if problem := fault("torch"):
        raise CheckFailed(problem) from None


def environment() -> None:
    """Print one line if the exercises can run here.

    Raises
    ------
    CheckFailed
        If something is missing: one line for each thing, with the mend.
    """
    problems = [line for package in NEEDED if (line := fault(package))]
    if not PYTHON[0] <= sys.version_info[:2] < PYTHON[1]:
        problems.insert(0, f"Python {sys.version.split()[0]} is not supported; use Python 3.11, 3.12 or 3.13.")
    if problems:
        raise CheckFailed("\n".join(problems))
    print(f"Everything the exercises need is here: Python, course_lib {__version__}, {', '.join(NEEDED)}.")
