"""A student's process behind the walls, and a watch on its whole tree: what it prints and takes, and how many it is."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import psutil

from .processes import below, crowd, end, proportional, running
from .sandbox import HOME, SCRATCH, Limits, environment, walls, writable
from .source import Assignment

INSIDE = "course_lib.marking.answering"


def spawn(arguments: list[str], channel: int, output, *, walls: list[str], home: str) -> subprocess.Popen:
    """Python behind the walls, or without any where there are none, with one channel to it."""
    command = [*walls, sys.executable, "-P", "-m", INSIDE, str(channel), *arguments]
    return subprocess.Popen(
        command, executable=shutil.which("bwrap") if walls else None, pass_fds=[channel], stdin=subprocess.DEVNULL,
        stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd="/" if walls else home,
        env=environment(home),  # bubblewrap's own too: its process is in there, and can be looked at
    )  # fmt: skip


class Cold:
    """Starts a Python for each notebook, which takes seconds: where there are no walls, or none within them."""

    own = 1  # processes that are none of the notebook's

    def __init__(self, hidden: list[Path], *, unsafe: bool) -> None:
        self.hidden, self.unsafe = hidden, unsafe

    def start(self, channel: int, output: int, limits: list[int], scratch: Path) -> None:
        around = [] if self.unsafe else walls(self.hidden)
        home = str(scratch) if self.unsafe else HOME
        self.process = spawn([*map(str, limits)], channel, output, walls=around, home=home)

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        if not self.unsafe:
            self.process.kill()  # bubblewrap's own death takes all with it, at once, however many there are
        end(self.process.pid)
        self.process.wait()


class Warm:
    """One Python behind the walls that has imported what notebooks need and is copied for each: see ``answering``.

    OSError where the kernel allows no walls within the walls; then ``Cold`` does.
    """

    own = 5  # bubblewrap's process, Python, and three that hold a copy's namespaces

    def __init__(self, hidden: list[Path], assignments: list[Assignment]) -> None:
        self.hidden = hidden
        self.orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        around = walls(hidden, nested=True)
        with theirs:
            self.process = spawn([], theirs.fileno(), subprocess.DEVNULL, walls=around, home=HOME)
        self.lock, self.numbers = threading.Lock(), count()
        begin = {"imports": imports(assignments), "writable": writable(), "size": SCRATCH}
        self.orders.send(json.dumps(begin).encode())
        if self.orders.recv(100) != b"ready":
            self.close()
            raise OSError("no namespaces within the sandbox")
        self.server = self.tree()[-1].pid  # below bubblewrap's process, and alone until the first order
        self.holders: list[int] = []  # of the last copy's namespaces

    def order(self, files: list[int], **what: object) -> None:
        """Send an order and wait for its receipt; OSError if nobody is there."""
        with self.lock:
            text = json.dumps({"order": [os.getpid(), next(self.numbers)]} | what).encode()
            socket.send_fds(self.orders, [text], files)
            while (receipt := self.orders.recv(2**16)) != text:
                if not receipt:
                    raise OSError("the Python that is copied for each notebook has ended")

    def start(self, channel: int, output: int, limits: list[int], scratch: Path) -> None:
        self.order([channel, output], limits=limits)
        self.holders = below(self.server)

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """End the copy: with the first process of its namespaces the kernel ends all others and waits for nobody."""
        for first in (pid for holder in self.holders for pid in below(holder)):
            with contextlib.suppress(OSError):
                os.kill(first, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.order([])

    def close(self) -> None:
        end(self.process.pid)
        self.process.wait()
        self.orders.close()


def best(hidden: list[Path], assignments: list[Assignment], *, unsafe: bool) -> Cold | Warm:
    """Warm where that can be had."""
    if not unsafe:
        with contextlib.suppress(OSError):
            return Warm(hidden, assignments)
    return Cold(hidden, unsafe=unsafe)


def imports(assignments: list[Assignment]) -> list[str]:
    """The import statements of some assignments."""
    found = [node for a in assignments for cell in a.cells for node in ast.parse(cell.source).body]
    return list(dict.fromkeys(ast.unparse(n) for n in found if isinstance(n, ast.Import | ast.ImportFrom)))


class Walled:
    """A student's process, from its start to its end."""

    def __init__(self, descriptor: int, limits: Limits, scratch: Path, kind: Cold | Warm) -> None:
        self.limits, self.why, self.kind, self.over = limits, "", kind, threading.Event()
        self.text, self.size, self.lock, self.reading = bytearray(), 0, threading.Lock(), threading.Lock()
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        self.output = io.FileIO(ours)
        numbers = [limits.total, limits.memory, limits.processes + running()]
        try:
            kind.start(descriptor, theirs, [int(n) for n in numbers], scratch)
        except OSError:
            self.output.close()
            raise
        finally:
            os.close(theirs)
        for task in (self.listen, self.count, self.weigh):
            threading.Thread(target=task, daemon=True).start()

    def listen(self) -> None:
        """Read as long as there is something to come, so that nobody waits for room in the pipe."""
        ready = select.poll()
        ready.register(self.output, select.POLLIN)
        while self.take():
            ready.poll()
        with self.reading:
            self.output.close()

    def take(self) -> bool:
        """Keep the start of what is printed, end a process that prints without end; False if no more is to come."""
        with self.reading:
            data = b""
            while not self.output.closed and (data := self.output.read(2**16)):
                self.size += len(data)
                self.text += data[: max(0, 20_000 - len(self.text))]
                if self.size > self.limits.output:
                    self.kill(f"it printed more than {self.limits.output // 2**20} MiB")
                    return False
            return data is None  # nothing yet; at the end it is empty

    def crowd(self) -> int:
        """How many processes there are beside those that are none of the notebook's."""
        return crowd(self.kind.process.pid, self.limits.processes + self.kind.own) - self.kind.own

    def count(self) -> None:
        """End processes that have become too many; at once, since a fork bomb has hundreds in a second."""
        while not self.over.wait(0.1):
            if self.crowd() > self.limits.processes:
                self.kill(f"it started more than {self.limits.processes} processes")

    def weigh(self) -> None:
        """End processes that take too much memory together; of a single one the kernel sees to that."""
        while not self.over.wait(0.3):
            with contextlib.suppress(psutil.Error):
                tree = self.kind.tree()
                if len(tree) > self.kind.own + 1 and sum(map(proportional, tree)) > self.limits.memory:
                    self.kill("its processes took too much memory")

    def printed(self) -> str:
        """What was printed since the last time, its start alone if it is long."""
        self.take()  # what was printed before an answer came lies in the pipe by now
        with self.reading:
            text, self.text = self.text, bytearray()
        return text.decode("utf-8", "replace")

    def kill(self, why: str = "") -> None:
        """End every process of the tree, once: what runs behind these walls later is another's."""
        with self.lock:
            if not self.over.is_set():
                self.why = why
                self.over.set()
                self.kind.end()
