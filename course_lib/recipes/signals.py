"""Signals: a run that is told to end saves and records what it has, and so does one that another command started."""

from __future__ import annotations

import signal
import subprocess
from contextlib import contextmanager

from .base import Setup


@contextmanager
def terminate_as_interrupt(setup: Setup):
    """The first SIGTERM, which a time limit sends before it kills, does what Ctrl-C does: save, record, end.

    Not for one process of several: it could wait for others that are dead.
    """
    if setup.processes > 1:
        yield
        return

    def interrupt(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends it to a group, so it may come twice
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def attended(command: list[str]) -> tuple[int, bool]:
    """Exit status of a command, which at a signal is left to end in its own way; whether there was a signal."""
    process, got = subprocess.Popen(command), []

    def hand_on(number, frame):
        got.append(number)
        process.send_signal(number)

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        while True:
            try:
                return process.wait(), bool(got)
            except KeyboardInterrupt:  # the terminal has sent it to the command as well
                got.append(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)
