"""The examiner's process: holds the checks, asks the student's process for the answers, and decides the marks."""

from __future__ import annotations

import contextlib
import io
import signal
import socket
import time
from pathlib import Path

import torch
from nbformat import NotebookNode
from nbformat.v4 import new_output

from ..checks import CheckFailed
from .peer import Peer
from .sandbox import Limits
from .source import Assignment, grade_id, helps
from .walled import Cold, Walled, Warm
from .wire import Gone, Wire

STARTS = 60.0  # seconds until a process must be ready, on a busy machine


class TimeUp(BaseException):
    """A cell or a check takes too long. No check's ``except Exception`` may catch this."""


class OutOfTime(Exception):
    """The whole submission has used its time."""


@contextlib.contextmanager
def deadline(seconds: float):
    """Raise TimeUp in here after so many seconds."""

    def ring(signum, frame):
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Missing:
    """Stands for an answer that the notebook does not define."""

    def __init__(self, name: str, why: str) -> None:
        self._text = f"{name} is not defined{why}"

    def __call__(self, *args, **kwargs):
        raise CheckFailed(self._text)


class Examination:
    """One submission: its process, which is started again without a cell that ended it, and the checks."""

    def __init__(self, assignment: Assignment, limits: Limits, scratch: Path, kind: Cold | Warm):
        self.assignment, self.limits, self.scratch, self.kind = assignment, limits, scratch, kind
        self.names: dict = {"__name__": "__main__"}
        self.end = time.monotonic() + limits.total
        self.done: list[str] = []  # what has run, to be run again in a new process
        self.fault = ""  # of the last cell of the student's that failed
        self.helped = 0  # how many of the source's cells have been looked at
        self.walled: Walled | None = None

    def start(self) -> None:
        """A fresh process with every cell run again that did not end the last one."""
        self.stop()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self.walled = Walled(theirs.fileno(), self.limits, self.scratch, self.kind)
            except OSError:  # the Python that is copied has ended
                self.kind = Cold(self.kind.hidden, unsafe=False)
                self.walled = Walled(theirs.fileno(), self.limits, self.scratch, self.kind)
        self.peer = Peer(Wire(ours), trusted=True, classes=self.names)
        self.guarded("the start of Python", lambda: None, STARTS)
        kept, self.done = self.done, []
        for source in kept:
            self.run(source)

    def stop(self) -> None:
        if self.walled is not None:
            self.walled.kill()
            self.peer.wire.sock.close()
            self.walled = None

    def guarded(self, what: str, action, seconds: float | None = None):
        """Do something within the time of a cell; a text that says how the process ended, if it did."""
        if self.walled is None:
            self.start()
        left = self.end - time.monotonic()
        if left <= 0:
            raise OutOfTime
        seconds = min(seconds or self.limits.cell, left)
        try:
            with deadline(seconds):
                result = action()
                self.peer.clear()
                return result, ""
        except TimeUp:
            ended = f"{what} did not end within {seconds:.0f} seconds"
        except Gone as gone:
            ended = f"{what} ended the process: {self.walled.why or gone}" if self.walled else f"{what}: {gone}"
        except Exception as error:  # whatever a stranger's message makes of the code that reads it
            ended = f"{what} sent what is no answer ({type(error).__name__})"
        self.stop()
        return None, ended

    def run(self, source: str) -> tuple[str, str]:
        """Run a cell of the student's: what it printed, and what went wrong."""
        error, ended = self.guarded("the cell", lambda: self.peer.ask({"op": "run", "source": source}))
        error = None if error is None else [str(part) for part in error] if isinstance(error, list) else ["Error", ""]
        if ended:
            self.fault = ended
            return "", ended
        self.done.append(source)
        printed = self.walled.printed()
        if error:
            self.fault = ": ".join(error)[:2000]
            return printed, self.fault
        return printed, ""

    def answer(self, name: str) -> object:
        """What the student's notebook calls so."""
        try:
            return self.peer.ask({"op": "get", "name": name})
        except NameError:
            return Missing(name, f"; before it a cell stopped with {self.fault}" if self.fault else "")

    def prepare(self, check: str) -> None:
        """Run the source's own cells up to a check, and take the answers that there are."""
        answers = {name for ex in self.assignment.exercises.values() for name in ex.answers}
        cells = self.assignment.cells
        place = next(k for k, cell in enumerate(cells) if grade_id(cell) == check)
        for ex in self.assignment.exercises.values():
            for name in ex.answers:
                self.names[name] = self.answer(name)
            if f"{ex.id}-check" == check:
                break
        for cell in cells[self.helped : place]:
            if not grade_id(cell) and helps(cell.source, answers):
                with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(cell.source, "<course>", "exec"), self.names)
        self.helped = max(self.helped, place)

    def check(self, check: str) -> tuple[str, str]:
        """Run a check with its hidden tests: what held, and what did not."""
        source = next(cell.source for cell in self.assignment.cells if grade_id(cell) == check)
        held = io.StringIO()

        def action() -> str:
            torch.manual_seed(0)
            with contextlib.redirect_stdout(held):
                try:
                    self.prepare(check)
                    exec(compile(source, "<check>", "exec"), self.names)
                except CheckFailed as error:
                    return f"Not yet: {error}"[:3000]
                except NotImplementedError:
                    return "Not answered yet."
                except Exception as error:
                    return f"Not yet: the check stopped with {type(error).__name__}: {error}"[:1000]
            return ""

        if self.walled is None:
            self.start()
        before = self.walled.crowd()
        failed, ended = self.guarded("your answer", action)
        if self.walled is not None:
            self.walled.printed()  # what an answer prints under the hidden tests could show them
            if self.walled.crowd() > before:  # what it leaves running is not to be in the way of the next cell
                self.stop()
        return held.getvalue()[:20_000], f"Not yet: {ended}" if ended else failed


def examine(nb: NotebookNode, examination: Examination) -> dict[str, tuple[str, str]]:
    """Run the notebook, its checks in the examiner's process; what each check said is in its outputs and returned."""
    said: dict[str, tuple[str, str]] = {}
    over = ""
    for cell in nb.cells:
        if cell.cell_type != "code":
            continue
        check = bool(cell.metadata.get("nbgrader", {}).get("grade"))
        text, failed = "", ""
        try:
            if not over:
                text, failed = examination.check(grade_id(cell)) if check else examination.run(cell.source)
        except OutOfTime:
            over = f"the notebook used its {examination.limits.total:.0f} seconds before this check"
        failed = f"Not yet: {over}" if over else failed
        if check:
            said[grade_id(cell).removesuffix("-check")] = text, failed
        if text:
            cell.outputs.append(new_output("stream", name="stdout", text=text))
        if failed:
            cell.outputs.append(new_output("error", ename="Failed", evalue=failed, traceback=[failed]))
    return said
