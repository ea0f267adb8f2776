"""Mark submissions, each in a process of its own: ``python -m course_lib.marking.one OPTIONS``.

The name of a job's file comes in on a line; a copy of this process, which has imported what marking needs, does it; a
line goes out when it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

MEMORY = 4 * 2**30  # bytes; the examiner runs nothing of a stranger's, but reads what strangers hand in


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8", errors="replace")
    os.replace(part, path)


def mark(job: dict, scratch: Path, kind) -> dict:
    """The record of one submission: marks, and what each check said."""
    import nbformat

    from . import autograde, restore, source
    from .examiner import Examination
    from .sandbox import Limits

    record = {"assignment": job["assignment"] or "", "marks": 0.0, "points": 0.0, "note": "", "exercises": []}
    known = source.assignments(Path(job["source"]))
    if job["assignment"]:
        record["points"] = known[job["assignment"]].points
    try:
        nb = restore.load(Path(job["file"]))
        assignment = restore.recognise(nb, known, job["assignment"])
    except restore.Refused as refused:
        return record | {"note": str(refused)}
    answers = {source.grade_id(cell): cell.source for cell in nb.cells if source.grade_id(cell) in assignment.exercises}
    nb, notes = restore.restore(nb, assignment)
    gradebook = scratch / "gradebook.db"
    shutil.copy(job["gradebook"], gradebook)
    own = scratch / "own"
    own.mkdir()
    examination = Examination(assignment, Limits(**job["limits"]), own, kind)
    nb, marks, said = autograde.autograde(nb, assignment, examination, gradebook)
    if job["marked"]:
        write(Path(job["marked"]), nbformat.writes(nb))
    exercises = [
        {"id": ex.id, "points": ex.points, "marks": marks[ex.id], "held": said[ex.id][0], "failed": said[ex.id][1],
         "answer": answers.get(ex.id, "")[:20_000]}
        for ex in assignment.exercises.values()
    ]  # fmt: skip
    return record | {
        "assignment": assignment.name, "points": assignment.points, "marks": sum(marks.values()),
        "note": "; ".join(notes), "exercises": exercises,
    }  # fmt: skip


def do(path: Path, kind) -> None:
    """Do one job and write its record."""
    job = json.loads(path.read_text("utf-8"))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="marking-") as scratch:
        record = mark(job, Path(scratch), kind)
    record |= {"student": job["student"], "handed_in": job["name"], "seconds": round(time.monotonic() - started, 1)}
    write(Path(job["record"]), json.dumps(record))


def warm(source: Path) -> list:
    """Import what every job needs: the libraries, and what the checks' own cells import; the assignments."""
    import torch
    import torch._dynamo  # which the first optimizer of a process imports, in seconds

    from . import autograde, examiner, restore  # noqa: F401
    from .source import assignments
    from .walled import imports

    torch.set_num_threads(1)
    known = list(assignments(source).values())
    for line in imports(known):
        with contextlib.suppress(Exception):
            exec(line, {})
    return known


def main() -> None:
    """OPTIONS is JSON: the folder ``source``, the folders ``hidden`` from notebooks, and whether ``unsafe``."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    options = json.loads(sys.argv[1])
    hidden, unsafe = [Path(place) for place in options["hidden"]], options["unsafe"]
    known = warm(Path(options["source"]))
    from .walled import Warm, best

    kind = best(hidden, known, unsafe=unsafe)
    for line in sys.stdin:
        if isinstance(kind, Warm) and kind.process.poll() is not None:
            kind = best(hidden, known, unsafe=unsafe)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                do(Path(json.loads(line)), kind)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(f"the examiner ended with status {status}", flush=True)


if __name__ == "__main__":
    main()
