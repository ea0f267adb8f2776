"""Mark a folder: find what was handed in, mark it in parallel, one record a submission, and go on after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from .sandbox import Limits
from .source import Assignment


@dataclass(frozen=True)
class Submission:
    """One file as it was handed in: by whom, for what (where the folder says so), and its path below the folder."""

    student: str
    assignment: str | None
    file: Path
    name: str


@dataclass(frozen=True)
class Outcome:
    """What a run keeps of a notebook in memory, however many there are; the rest of its record stays on disk."""

    student: str
    assignment: str
    handed_in: str
    marks: float
    points: float
    note: str
    record: Path | None

    def read(self) -> dict:
        """The whole record. Where marking itself failed none was written, so that the next run tries again."""
        return json.loads(self.record.read_text("utf-8")) if self.record else asdict(self) | {"exercises": []}


def outcome(record: Path) -> Outcome:
    """What is kept of a record on disk."""
    held = json.loads(record.read_text("utf-8"))
    return Outcome(*(held[name] for name in ("student", "assignment", "handed_in", "marks", "points", "note")), record)


def shown(name: str) -> str:
    """A file's name as text that every table and page can hold, whatever its bytes were."""
    return " ".join(name.encode("utf-8", "replace").decode().split())


def find(folder: Path, assignments: dict[str, Assignment]) -> Iterator[Submission]:
    """Every notebook of ``folder/NAME.ipynb``, ``folder/student/*.ipynb`` and ``folder/student/assignment/*.ipynb``.

    Links are not followed. A student's folder without a notebook counts as one submission, which cannot be marked.
    """
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            below = ((p, p.relative_to(entry).parts) for p in entry.rglob("*.ipynb"))
            found = sorted(p for p, parts in below if not any(part.startswith(".") for part in parts))
            for path in found or [entry]:
                folders = path.relative_to(entry).parts[:-1]
                said = [name for name in (*folders[:1], path.stem) if name in assignments]
                name = shown(str(path.relative_to(folder)))
                yield Submission(shown(entry.name), said[0] if said else None, path, name)
        elif entry.suffix == ".ipynb":
            said = next((name for name in assignments if name in entry.stem), None)
            student = entry.stem.replace(said or "", "").strip(" _-.") or entry.stem
            yield Submission(shown(student), said, entry, shown(entry.name))


def key(submission: Submission, assignments: dict[str, Assignment], limits: Limits) -> str:
    """What a record is valid for: this file, these checks, these limits."""
    digest = hashlib.sha256(repr((os.fsencode(submission.file), submission.name, asdict(limits))).encode())
    digest.update("".join(a.key for a in assignments.values()).encode())
    if submission.file.is_file() and not submission.file.is_symlink() and submission.file.stat().st_size < 2**28:
        digest.update(submission.file.read_bytes())
    return digest.hexdigest()[:24]


class Marking:
    """The jobs of one run: each thread has an examiner, which does each job in a process of its own."""

    def __init__(self, source: Path, output: Path, limits: Limits, *, unsafe: bool, hidden: list[Path]) -> None:
        self.source, self.output, self.limits, self.unsafe = source, output, limits, unsafe
        self.hidden, self.running, self.lock = hidden, set(), threading.Lock()
        self.stopped, self.own = False, threading.local()

    def one(self, submission: Submission, record: Path) -> Outcome:
        """Have one submission marked, unless its record is there."""
        if record.exists():
            return outcome(record)
        marked = self.output / "marked" / f"{record.stem}.ipynb"
        job = {
            "student": submission.student, "assignment": submission.assignment, "file": str(submission.file),
            "name": submission.name, "source": str(self.source), "gradebook": str(self.output / "empty.db"),
            "record": str(record), "marked": str(marked), "limits": asdict(self.limits),
        }  # fmt: skip
        path = record.with_suffix(".job")
        path.write_text(json.dumps(job), encoding="utf-8")
        said = self.process(path)
        path.unlink(missing_ok=True)
        if record.exists():
            return outcome(record)
        note = f"could not be marked: {said}"
        return Outcome(submission.student, submission.assignment or "", submission.name, 0.0, 0.0, note, None)

    def process(self, job: Path) -> str:
        """Have one job done by this thread's examiner; its last words, should it leave no record."""
        worker = getattr(self.own, "worker", None)
        if worker is None or worker.poll() is not None:
            worker = self.own.worker = self.start()
        timer = threading.Timer(self.limits.total + 180, end, [worker])
        timer.start()
        try:
            worker.stdin.write(json.dumps(str(job)) + "\n")
            worker.stdin.flush()
            said = worker.stdout.readline().strip()
        except (OSError, ValueError):
            said = ""
        finally:
            timer.cancel()
        if not said:
            end(worker)
            said = "the examiner did not end in time, or could not start"
        log = self.output / "errors.txt"
        return f"{said}; see {log.name}" if log.exists() and log.stat().st_size else said

    def start(self) -> subprocess.Popen:
        """An examiner that waits for jobs."""
        options = {"source": str(self.source), "hidden": [str(p) for p in self.hidden], "unsafe": self.unsafe}
        command = [sys.executable, "-m", "course_lib.marking.one", json.dumps(options)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        with self.lock, (self.output / "errors.txt").open("a") as log:
            if self.stopped:
                raise RuntimeError("stopped")
            worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True,
                start_new_session=True,
            )  # fmt: skip
            self.running.add(worker)
        return worker

    def stop(self) -> None:
        """End what is running; what is not recorded is marked by the next run."""
        with self.lock:
            self.stopped = True
            for worker in self.running:
                end(worker)

    def all(self, todo: list[tuple[Submission, Path]], jobs: int) -> Iterator[Outcome]:
        """Every outcome as it is there."""
        with ThreadPoolExecutor(jobs) as pool:
            waiting = [pool.submit(self.one, submission, record) for submission, record in todo]
            try:
                for future in as_completed(waiting):
                    yield future.result()
            finally:
                for future in waiting:
                    future.cancel()
                self.stop()


def end(worker: subprocess.Popen) -> None:
    """Kill an examiner, and with it the process that it watches."""
    import psutil

    try:
        tree = psutil.Process(worker.pid).children(recursive=True)
        for process in tree:
            process.kill()
        os.killpg(worker.pid, signal.SIGKILL)
    except (psutil.Error, ProcessLookupError):
        pass
    worker.wait()
