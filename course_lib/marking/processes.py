"""Processes seen from outside: how many there are, which lie below one, what they take, and their end."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil


def running() -> int:
    """How many threads this user has: the kernel's limit on processes counts them too."""
    everyone = [p.info for p in psutil.process_iter(["uids", "num_threads"])]
    return sum(p["num_threads"] or 0 for p in everyone if p["uids"] and p["uids"].real == os.getuid())


def below(pid: int) -> list[int]:
    """The children of a process, from its own file: a search through all processes is slow when they are many."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
        return []


def end(pid: int) -> None:
    """Kill a process, those below it and its group."""
    with contextlib.suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in (*top.children(recursive=True), top):
            with contextlib.suppress(psutil.Error):
                process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, 9)


def proportional(process: psutil.Process) -> int:
    """Bytes that a process takes; a page that several share counts in parts."""
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return 0
