"""The walls around the student's process: bubblewrap where it is, limits everywhere, and a watch on the whole tree.

Inside, the network is off, the file system is read-only and holds Python, its packages and the course's library alone,
and the only place to write is memory that goes with the process. Submissions, hidden tests and marks are not there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

LIBRARY = Path(__file__).resolve().parents[1]
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


def walls(hidden: list[Path], home: str = "/home/student") -> list[str]:
    """The bubblewrap command line that goes before the student's process."""
    command = ["bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    command += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "notebook"]
    command += ["--size", str(SCRATCH), "--tmpfs", "/tmp", "--size", str(SCRATCH), "--tmpfs", home]
    for path in visible():
        if path.is_symlink():  # /lib and /bin, where these are links into /usr
            command += ["--symlink", os.readlink(path), str(path)]
        else:
            command += ["--ro-bind", str(path), str(path)]
    for path in hidden:
        if any(path.resolve().is_relative_to(place.resolve()) for place in visible()):
            command += ["--tmpfs", str(path.resolve())]
    command += ["--proc", "/proc", "--dev", "/dev", "--dir", f"{home}/matplotlib", "--chdir", home]
    for path in fonts():
        command += ["--ro-bind", str(path), f"{home}/matplotlib/{path.name}"]
    for name, value in environment(home).items():
        command += ["--setenv", name, value]
    return command


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


def running() -> int:
    """How many threads this user has: the kernel's limit on processes counts them too."""
    everyone = [p.info for p in psutil.process_iter(["uids", "num_threads"])]
    return sum(p["num_threads"] or 0 for p in everyone if p["uids"] and p["uids"].real == os.getuid())


class Walled:
    """A student's process behind its walls, with a watch on how many there are of it and what they use."""

    def __init__(self, descriptor: int, limits: Limits, scratch: Path, *, unsafe: bool, hidden: list[Path]) -> None:
        numbers = [descriptor, limits.total, limits.memory, limits.processes + running()]
        inner = [sys.executable, "-P", "-m", "course_lib.marking.answering", *(str(int(n)) for n in numbers)]
        self.limits, self.why = limits, ""
        self.process = subprocess.Popen(
            inner if unsafe else [*walls(hidden), *inner], pass_fds=[descriptor], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, cwd=scratch if unsafe else "/",
            env=environment(str(scratch)) if unsafe else None,
        )
        self.text, self.size = bytearray(), 0
        for task in (self.listen, self.watch):
            threading.Thread(target=task, daemon=True).start()

    def listen(self) -> None:
        """Keep the start of what is printed; end a process that prints without end."""
        while data := os.read(self.process.stdout.fileno(), 2**16):
            self.size += len(data)
            self.text += data[: max(0, 20_000 - len(self.text))]
            if self.size > self.limits.output:
                self.kill(f"it printed more than {self.limits.output // 2**20} MiB")
                return

    def watch(self) -> None:
        """End a tree of processes that has grown too large."""
        while self.process.poll() is None:
            with contextlib.suppress(psutil.Error):
                tree = psutil.Process(self.process.pid).children(recursive=True)
                if len(tree) > self.limits.processes:
                    self.kill(f"it started more than {self.limits.processes} processes")
                elif len(tree) > 3 and sum(p.memory_info().rss for p in tree) > self.limits.memory:
                    self.kill("its processes took too much memory")
            threading.Event().wait(0.3)

    def printed(self) -> str:
        """What was printed since the last time, its start alone if it is long."""
        text, self.text = bytes(self.text).decode("utf-8", "replace"), bytearray()
        return text

    def kill(self, why: str = "") -> None:
        """End every process of the tree."""
        self.why = self.why or why
        with contextlib.suppress(psutil.Error):
            tree = psutil.Process(self.process.pid).children(recursive=True)
            for process in (psutil.Process(self.process.pid), *tree):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, 9)
        self.process.wait()
