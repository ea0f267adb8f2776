"""Walls within the walls: a copy of a process in user, process, mount and IPC namespaces of its own (Linux).

What the copy writes goes with it. It sees no process but its own, and can neither trace nor signal the one that it was
copied from: the kernel lets nobody do that to a process of a user namespace outside one's own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from pathlib import Path

SPACES = 0x10000000 | 0x20000000 | 0x20000 | 0x08000000  # unshare: user, processes, mounts, IPC
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC, REMOUNT, BIND = 1, 2, 4, 8, 32, 4096  # mount
PARENT_DEATH = 1  # prctl
CAPABILITIES = 0x20080522  # capset: version 3


def kernel(name: str, *args: object) -> None:
    """One of the C library's calls; OSError if it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(kind: bytes | None, place: str, flags: int, options: str | None = None) -> None:
    data = None if options is None else options.encode()
    kernel("mount", b"none", place.encode(), kind, ctypes.c_ulong(flags), data)


def powerless() -> None:
    """Give up what a new user namespace gave."""
    header, none = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    kernel("capset", header, none)


def enter(writable: list[str], size: int) -> None:
    """Go on as a copy of this process in namespaces of its own, with these folders empty and ``size`` bytes each.

    Call it in a fresh child: that child waits for the copy and ends with its status. Told to end (SIGTERM), it ends the
    copy first, with everything that this has started. OSError if the kernel does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    kernel("unshare", SPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path(f"/proc/self/{name}").write_text(text)
    wait_in_parent()
    kernel("prctl", PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
    with contextlib.suppress(OSError):  # not what the walls stand on, but the fewer ways into the kernel the better
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    for place in writable:
        mount(b"tmpfs", place, NO_SUID | NO_DEVICES, f"size={size},mode=0755")
    mount(None, "/proc", REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES | NO_EXEC)
    powerless()
    wait_in_parent()  # the first process of a namespace does nothing but bury the orphans


def wait_in_parent() -> None:
    """Fork; the parent buries whoever is given to it and ends as the child does, which goes on.

    Told to end, it ends the child first, and with the first process of a namespace the kernel ends all others.
    """
    child = os.fork()
    if child:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    while child:
        pid, status = os.wait()
        if pid == child:
            os._exit(min(os.waitstatus_to_exitcode(status) % 256, 255))
