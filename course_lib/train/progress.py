"""Progress: a bar in a terminal or a notebook, a line now and then in a log file."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm


def words(figures: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in figures.items())


class Lines:
    """For log files: one line at most every `every` seconds, and the last one."""

    def __init__(self, total: int, *, every: float = 10.0, file=None):
        self.total, self.every, self.file, self.last = total, every, file or sys.stderr, time.monotonic()

    def show(self, epoch: int, figures: dict[str, float]) -> None:
        now = time.monotonic()
        if now - self.last >= self.every or epoch == self.total:
            print(f"epoch {epoch}/{self.total} {words(figures)}", file=self.file, flush=True)
            self.last = now

    def close(self) -> None:
        pass


class Bar:
    """A tqdm bar that disappears when the run is over."""

    def __init__(self, total: int, *, start: int = 0):
        self.bar = tqdm(total=total, initial=start, unit="epoch", leave=False, dynamic_ncols=True)

    def show(self, epoch: int, figures: dict[str, float]) -> None:
        self.bar.set_postfix_str(words(figures), refresh=False)
        self.bar.update(epoch - self.bar.n)

    def close(self) -> None:
        self.bar.close()


class Silent:
    """Nothing at all."""

    def show(self, epoch: int, figures: dict[str, float]) -> None:
        pass

    close = Lines.close


def make_progress(progress: bool | str, total: int, *, start: int = 0):
    """progress "auto": a bar in a terminal, else silence; True: a bar in terminals and notebooks, else lines; False."""
    terminal = sys.stderr.isatty()
    if progress is False or (progress == "auto" and not terminal):
        return Silent()
    return Bar(total, start=start) if terminal or "ipykernel" in sys.modules else Lines(total)
