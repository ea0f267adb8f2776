"""Mark submissions, each in a process of its own: ``python -m course_lib.marking.one SOURCE``.

The name of a job's file comes in on a line; a copy of this process, which has imported what marking needs, does it; a
line goes out when it has ended.
"""

from __future__ import annotations

import ast
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

MEMORY = 8 * 2**30  # bytes; the examiner runs nothing of a stranger's, but reads what strangers hand in


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8", errors="replace")
    os.replace(part, path)


def mark(job: dict, scratch: Path) -> dict:
    """The record of one submission: marks, and what each check said."""
    import nbformat
    import torch

    from . import autograde, restore, source
    from .examiner import Examination
    from .sandbox import Limits

    torch.set_num_threads(1)
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
    hidden = [Path(place) for place in job["hidden"]]
    limits = Limits(**job["limits"])
    examination = Examination(assignment, limits, own, unsafe=job["unsafe"], hidden=hidden)
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


def do(path: Path) -> None:
    """Do one job and write its record."""
    job = json.loads(path.read_text("utf-8"))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="marking-") as scratch:
        record = mark(job, Path(scratch))
    record |= {"student": job["student"], "handed_in": job["name"], "seconds": round(time.monotonic() - started, 1)}
    write(Path(job["record"]), json.dumps(record))


def warm(source: Path) -> None:
    """Import what every job needs: the libraries, and what the checks' own cells import."""
    import torch

    from . import autograde, examiner, restore, sandbox  # noqa: F401
    from .source import assignments

    torch.set_num_threads(1)
    for assignment in assignments(source).values():
        for cell in assignment.cells:
            if "optim." in cell.source:
                import torch._dynamo  # which the first optimizer of a process imports, in seconds
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    with contextlib.suppress(Exception):
                        exec(compile(ast.Module([node], []), "<import>", "exec"), {})


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warm(Path(sys.argv[1]))
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                do(Path(json.loads(line)))
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
