"""Limits that a process sets on itself before it runs what strangers wrote; no child can raise them again."""

from __future__ import annotations

import resource

FILE = 64 * 2**20  # bytes of one file
OPEN_FILES = 256


def restrict(seconds: int, memory: int, processes: int) -> None:
    """Limit CPU time (s), address space (bytes), processes and threads, files, and forbid core dumps."""
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
