"""The student's process: runs the notebook's cells and answers the checks' calls. Trusted with nothing.

    python -m course_lib.marking.answering SOCKET SECONDS MEMORY PROCESSES
"""

from __future__ import annotations

import os
import socket
import sys

from .limits import restrict


def main() -> None:
    descriptor, seconds, memory, processes = map(int, sys.argv[1:5])
    restrict(seconds, memory, processes)
    import torch

    torch.set_num_threads(1)
    from .peer import Peer
    from .wire import Gone, Wire

    shell = interactive()
    peer = Peer(Wire(socket.socket(fileno=descriptor)), trusted=False, classes=shell.user_ns)
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


if __name__ == "__main__":
    main()
