"""Checkpoints: written atomically, checked before use, never unpickled."""

from __future__ import annotations

import math
import os
import pickle
import signal
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import torch

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint cannot be written, is damaged, or belongs to another run; the message names the file."""


def save(path: str | os.PathLike, state: dict) -> None:
    """Write `state` (tensors and plain values) so that `path` always holds a whole checkpoint, the old or the new one.

    The bytes go to a neighbour file, reach the disk, and only then take the name. Raises CheckpointError.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as a RuntimeError
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise CheckpointError(
            f"cannot write checkpoint {path}: {_reason(error)}; free some space or give another folder"
        ) from error


def clear_parts(path: str | os.PathLike) -> None:
    """Remove what processes killed in the middle of a `save` to this path have left."""
    for part in Path(path).parent.glob(f".{Path(path).name}.*.part"):
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike) -> dict:
    """The state that `save` wrote, on the CPU. Raises CheckpointError naming a file that is damaged or foreign.

    Every byte is checked against the archive's CRC-32 sums first, and only tensors and plain values are read
    (weights_only): a file from a stranger cannot run code.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if (member := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"checksum of {member} differs")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError, EOFError, KeyError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or not a checkpoint ({_reason(error)}); delete it to start afresh"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {path} is not of format {FORMAT} of this trainer; delete it to start afresh")
    return state


def match(path: str | os.PathLike, saved: dict, now: dict) -> None:
    """Raise CheckpointError, naming what differs, unless the checkpoint was made with the settings `now`."""
    differ = [k for k in sorted(saved.keys() | now.keys()) if saved.get(k) != now.get(k)]
    if differ:
        what = ", ".join(f"{k} was {saved.get(k)!r}, now {now.get(k)!r}" for k in differ)
        raise CheckpointError(f"checkpoint {path} belongs to another run: {what}; delete it or give another path")


def random_state(device: torch.device) -> dict:
    """torch's global random state, of the CPU and of a CUDA device."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict, device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


class Asked:
    """Whether the run is asked to stop: by a signal, or because time.monotonic() has reached its deadline."""

    def __init__(self, deadline: float):
        self.deadline, self.signalled = deadline, False

    def is_set(self) -> bool:
        return self.signalled or time.monotonic() >= self.deadline


@contextmanager
def interruptible(deadline: float = math.inf):
    """Yield an `Asked` that the first Ctrl-C sets; a second one raises KeyboardInterrupt as usual.

    Outside the main thread, where Python allows no signal handlers, the deadline alone sets it.
    """
    asked = Asked(deadline)
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(signum, frame):
        asked.signalled = True
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
