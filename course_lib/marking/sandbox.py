"""The walls around the student's process: bubblewrap where it is, and what a notebook may use.

Inside, the network is off, the file system is read-only and holds Python, its packages and the course's library alone,
and the only place to write is memory that goes with the process. Submissions, hidden tests and marks are not there.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]
HOME = "/notebook"  # of the student's process; no installation lies below it
SCRATCH = 64 * 2**20  # bytes that a notebook may write


class NoSandbox(RuntimeError):
    """Strangers' code would run without walls."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use: seconds a cell and in all, bytes of memory and of output, processes."""

    cell: float = 60.0
    total: float = 300.0
    memory: int = 4 * 2**30
    processes: int = 64
    output: int = 10 * 2**20


def visible() -> list[Path]:
    """What Python needs to run, and nothing of the course but its library."""
    system = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
    places = [Path(p) for p in (*system, sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages())]
    places += [Path(sys.executable).resolve().parent, LIBRARY]
    return list(dict.fromkeys(p for p in places if p.exists()))


def environment(home: str) -> dict[str, str]:
    """The variables of the student's process, and no others."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": home, "TMPDIR": home, "USER": "student",
        "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "MPLCONFIGDIR": f"{home}/matplotlib",
        "IPYTHONDIR": f"{home}/ipython", "PYTHONPATH": str(LIBRARY.parent), "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def writable() -> list[str]:
    """Where a notebook that is copied may write: not in /tmp, if Python or the library lies there."""
    taken = any(path.resolve().is_relative_to("/tmp") for path in visible())
    return [HOME, "/dev/shm"] if taken else [HOME, "/dev/shm", "/tmp"]


def walls(hidden: list[Path], home: str = HOME, *, nested: bool = False) -> list[str]:
    """The bubblewrap command line that goes before the student's process; nested: which makes walls of its own."""
    command = ["bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    command += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "notebook"]
    command += ["--size", str(SCRATCH), "--tmpfs", "/tmp", "--size", str(SCRATCH), "--tmpfs", home]
    for path in visible():
        if path.is_symlink() and path.parent == Path("/"):  # /lib and /bin, where these are links into /usr
            command += ["--symlink", os.readlink(path), str(path)]
        else:
            command += ["--ro-bind", str(path), str(path)]
    for path in hidden:
        if any(path.resolve().is_relative_to(place.resolve()) for place in visible()):
            command += ["--tmpfs", str(path.resolve())]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(SCRATCH), "--tmpfs", "/dev/shm"]
    command += ["--dir", f"{home}/matplotlib", "--chdir", home]
    for path in fonts():
        command += ["--ro-bind", str(path), f"{home}/matplotlib/{path.name}"]
    for name, value in environment(home).items():
        command += ["--setenv", name, value]
    command += ["--remount-ro", "/", "--remount-ro", "/dev"]  # else one could fill the memory through them
    if nested and "/tmp" not in writable():
        command += ["--remount-ro", "/tmp"]
    # Run by root, a process without any power may still write the kernel's settings. (`nest` does the same, later.)
    return command if nested else [*command, "--remount-ro", "/proc", *tight()]


@cache
def tight() -> tuple[str, ...]:
    """No further user namespace within, where bubblewrap knows how (0.8): the fewer ways into the kernel the better."""
    said = subprocess.run(["bwrap", "--help"], capture_output=True, text=True).stdout
    return ("--disable-userns",) if "--disable-userns" in said else ()


@cache
def fonts() -> tuple[Path, ...]:
    """matplotlib's list of fonts, which takes seconds to make."""
    import matplotlib.font_manager

    return tuple(Path(matplotlib.get_cachedir()).glob("fontlist-*.json")) if matplotlib.font_manager.fontManager else ()


@cache
def works() -> str:
    """An empty text if bubblewrap runs here; else why not, in one line."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (on Debian and Ubuntu: apt install bubblewrap)"
    trial = [*walls([]), sys.executable, "-c", "import socket"]
    result = subprocess.run(trial, capture_output=True, text=True, timeout=60)
    return "" if result.returncode == 0 else f"bubblewrap does not run here ({result.stderr.strip()[:200]})"


def require(*, unsafe: bool) -> None:
    """Raise NoSandbox where there are no walls and nobody has said that none are wanted."""
    if not unsafe and (why := works()):
        raise NoSandbox(f"{why}. Marking runs strangers' code: mend this, or say --unsafe if you trust every author.")
