"""The student's process: runs the notebook's cells and answers the checks' calls. Trusted with nothing.

    python -m course_lib.marking.answering CHANNEL SECONDS MEMORY PROCESSES
    python -m course_lib.marking.answering CHANNEL

The first form is one notebook's process. The second imports what notebooks need and makes a copy of itself, in walls of
its own, for each order that comes (``warm``): a copy starts in no time.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
from pathlib import Path

from .limits import restrict
from .nest import enter


def answer(descriptor: int, limits: list[int], shell) -> None:
    """Answer what comes over the channel until it closes."""
    restrict(*limits)
    import torch

    torch.set_num_threads(1)
    from .peer import Peer
    from .wire import Gone, Wire

    channel = socket.socket(fileno=descriptor)
    os.register_at_fork(after_in_child=channel.close)  # a child that the notebook starts answers nothing
    peer = Peer(Wire(channel), trusted=False, classes=shell.user_ns)
    peer.is_own = lambda filename: filename in shell.compile._filename_map or "ipython-input" in filename

    def run(message: dict, value) -> list | None:
        outcome = shell.run_cell(value("source"), store_history=False)
        sys.stdout.flush()
        sys.stderr.flush()
        error = outcome.error_before_exec or outcome.error_in_exec
        return None if error is None else [type(error).__name__, str(error)[:2000]]

    def get(message: dict, value) -> object:
        if message["name"] not in shell.user_ns:
            raise NameError(f"the notebook defines no {message['name']}")
        return shell.user_ns[message["name"]]

    def clear(message: dict, value) -> str:
        peer.forget()
        return message["name"]

    peer.operations |= {"run": run, "get": get, "clear": clear}
    try:
        while True:
            peer.answer(*peer.receive())
    except Gone:
        os._exit(0)


def interactive():
    """An IPython shell, as notebooks have it, without history, colours or a place to write its settings."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.ast_node_interactivity = "last_expr"
    return InteractiveShell.instance(config=config)


class Server:
    """Makes copies of this process, one at a time, and never runs a line of a student's itself."""

    def __init__(self, orders: socket.socket) -> None:
        self.orders, self.copy = orders, 0
        self.kept: dict[Path, bytes] = {}

    def prepare(self, imports: list[str], writable: list[str], size: int) -> None:
        """Import what a notebook will import, and see whether the kernel lets a copy have walls of its own."""
        import numpy  # noqa: F401
        import torch
        import torch._dynamo  # which the first optimizer of a process imports, in seconds

        torch.set_num_threads(1)
        from . import peer, wire  # noqa: F401

        for line in imports:
            with contextlib.suppress(Exception):
                exec(line, {})
        self.shell, self.writable, self.size = interactive(), writable, size
        self.kept = {path: path.read_bytes() for path in Path(os.environ["MPLCONFIGDIR"]).iterdir()}
        if not self.fork():
            self.inside()
            os._exit(0)
        if os.waitpid(self.copy, 0)[1]:
            raise OSError("no namespaces within the sandbox")
        self.copy = 0

    def fork(self) -> int:
        self.copy = os.fork()
        return self.copy

    def inside(self) -> None:
        """Let the copy have its own walls, an empty home, and random numbers of its own."""
        import numpy

        self.orders.close()
        enter(self.writable, self.size)
        for path, content in self.kept.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        os.chdir(os.environ["HOME"])
        random.seed()
        numpy.random.seed()  # noqa: NPY002

    def end(self) -> None:
        """End the copy, with everything that it has started."""
        if self.copy:
            os.kill(self.copy, signal.SIGTERM)
            os.waitpid(self.copy, 0)
            self.copy = 0

    def serve(self) -> None:
        """Do what is ordered until nobody is there: a new copy, or none; an order is repeated as its receipt."""
        while True:
            text, files, *_ = socket.recv_fds(self.orders, 2**16, 2)
            if not text:
                return
            self.end()
            order = json.loads(text)
            if "limits" in order and not self.fork():
                self.inside()
                channel, output = files
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.close(output)
                answer(channel, order["limits"], self.shell)
            for file in files:
                os.close(file)
            self.orders.send(text)


def main() -> None:
    channel, *limits = map(int, sys.argv[1:])
    if limits:
        restrict(*limits)
        answer(channel, limits, interactive())
    server = Server(socket.socket(fileno=channel))
    server.prepare(**json.loads(server.orders.recv(2**20)))
    server.orders.send(b"ready")
    server.serve()


if __name__ == "__main__":
    main()
