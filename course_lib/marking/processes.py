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
    """The children of a process, from its own files: a search through all processes is slow when they are many."""
    files = list(Path(f"/proc/{pid}/task").glob("*/children"))
    with contextlib.suppress(OSError, psutil.Error):  # it has ended
        if not files:  # a system that does not have them
            return [child.pid for child in psutil.Process(pid).children()]
        return [int(child) for file in files for child in file.read_text().split()]
    return []


def crowd(pid: int, most: int) -> int:
    """How many processes lie below one; the count ends beyond ``most``."""
    left, count = [pid], 0
    while left and count <= most:
        found = below(left.pop())
        left += found
        count += len(found)
    return count


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
