"""``python -m course_lib doctor``: what is wrong with this environment, one line a finding, each with its mend."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# (fine, what was found, what to do if it is not fine)
Finding = tuple[bool, str, str]
PACKAGES = ("torch", "torchdiffeq", "numpy", "scipy", "matplotlib", "IPython")
REINSTALL = "install the course again (README, “Two commands”)"


def python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fine = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield fine, f"Python {version} at {sys.executable}", "use Python 3.11, 3.12 or 3.13"


def packages() -> Iterator[Finding]:
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            yield False, f"{name} is not installed", REINSTALL
            continue
        try:
            __import__(name)
        except Exception as error:  # a broken binary can raise anything on import, and each is a finding
            yield False, f"{name} does not import ({type(error).__name__}: {error})", REINSTALL
            continue
        version = importlib.metadata.version(name.lower())
        pinned = pins().get(name.lower())
        fine = pinned is None or version.split("+")[0] == pinned
        yield fine, f"{name} {version}", f"the course was checked with {pinned}: pip install {name.lower()}=={pinned}"


def pins() -> dict[str, str]:
    """The locked versions, where the repository's constraints.txt lies beside the library."""
    path = Path(__file__).resolve().parents[1] / "constraints.txt"
    if not path.exists():
        return {}
    lines = [line.split("==") for line in path.read_text("utf-8").splitlines() if "==" in line]
    return {name.lower(): version for name, version in lines}


def device() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        yield True, f"device: {torch.cuda.get_device_name(0)} (CUDA {torch.version.cuda})", ""
    elif torch.version.cuda:
        yield True, "device: CPU (this torch could use CUDA, but no driver answers)", ""
    else:
        mps = torch.backends.mps.is_available()
        yield True, f"device: CPU{', Apple GPU present' if mps else ''}, {torch.get_num_threads()} threads", ""


def kernel() -> Iterator[Finding]:
    if importlib.util.find_spec("ipykernel") is None:
        yield False, "no Jupyter kernel for this Python (ipykernel is missing)", "pip install ipykernel"
        return
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        argv = KernelSpecManager().get_kernel_spec("python3").argv
    except NoSuchKernel:
        yield False, "no kernel named python3", "python -m ipykernel install --sys-prefix"
        return
    # Jupyter runs a bare "python" with the interpreter it runs in itself.
    same = not os.path.isabs(argv[0]) or Path(argv[0]).resolve() == Path(sys.executable).resolve()
    yield same, f"kernel python3 runs {argv[0]}", "python -m ipykernel install --sys-prefix (it runs another Python)"


def data() -> Iterator[Finding]:
    folder = os.environ.get("COURSE_DATA")
    if folder is None:
        yield True, "data: digits and pelts are in the package; COURSE_DATA is not set (needed for MNIST, CIFAR-10)", ""
    else:
        yield Path(folder).is_dir(), f"data: COURSE_DATA={folder}", "that is no folder: create it or unset COURSE_DATA"


def disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield free > 1, f"disk: {free:.1f} GiB free here", "free at least 1 GiB: the book and its cache are written here"
    yield os.access(Path.cwd(), os.W_OK), f"folder {Path.cwd()}", "you may not write here: move to a folder of yours"


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (python, packages, device, kernel, data, disk)


def main() -> int:
    """Print one line a finding; return 1 if any needs a mend."""
    findings = [finding for check in CHECKS for finding in check()]
    for fine, found, mend in findings:
        print(f"ok    {found}" if fine else f"MEND  {found}: {mend}")
    wrong = sum(not fine for fine, _, _ in findings)
    print("Everything the course needs is here." if not wrong else f"{wrong} to mend.")
    return int(wrong > 0)
