"""Limits that a process sets on itself before it runs what strangers wrote; no child can raise them again."""

from __future__ import annotations

import os
import resource

FILE = 64 * 2**20  # bytes of one file
OPEN_FILES = 256
NICE = 10


def restrict(seconds: int, memory: int, processes: int) -> None:
    """Limit CPU time (s), address space (bytes), processes and threads, and files; forbid core dumps; be nice.

    The kernel does not count root's processes. The examiner does, and a crowd of them must not keep it waiting.
    """
    os.nice(NICE)
    for kind, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, FILE),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))
