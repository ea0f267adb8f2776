"""Mark what students handed in: ``python -m course_lib.marking FOLDER`` (``make mark SUBMISSIONS=FOLDER``)."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from .sandbox import Limits, NoSandbox, require

ROOT = Path(__file__).resolve().parents[2]


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m course_lib.marking", description=__doc__)
    parser.add_argument("submissions", type=Path, help="NAME.ipynb, or student/assignment/NAME.ipynb, in this folder")
    parser.add_argument("--source", type=Path, default=ROOT / "solutions", help="instructor's notebooks")
    parser.add_argument("--output", type=Path, help="where marks and feedback go (default: FOLDER-marks beside it)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (default: all cores)")
    parser.add_argument("--seconds", type=float, default=Limits.cell, help="for a cell or a check (default: 60)")
    parser.add_argument("--total", type=float, default=Limits.total, help="seconds for a notebook (default: 300)")
    parser.add_argument("--memory", type=float, default=Limits.memory / 2**30, help="of a notebook, GiB (default: 4)")
    parser.add_argument("--unsafe", action="store_true", help="run without a sandbox: every author is trusted")
    options = parser.parse_args(argv)
    if wrong := [name for name in ("jobs", "seconds", "total", "memory") if not getattr(options, name) > 0]:
        parser.error(f"{wrong[0]}: must be more than 0.")
    options.submissions, options.source = options.submissions.resolve(), options.source.resolve()
    if not options.submissions.is_dir():
        parser.error(f"submissions: {options.submissions} is no folder.")
    options.output = (options.output or options.submissions.with_name(options.submissions.name + "-marks")).resolve()
    if options.output.is_relative_to(options.submissions):
        parser.error("output: choose a folder outside that of the submissions.")
    return options


def main(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    try:
        import nbgrader  # noqa: F401
    except ImportError:
        print('nbgrader is missing: python -m pip install -c constraints.txt -e ".[teach]"', file=sys.stderr)
        return 2
    from . import autograde, report
    from .run import Marking, find, key
    from .source import assignments

    try:
        require(unsafe=options.unsafe)
    except NoSandbox as error:
        print(error, file=sys.stderr)
        return 2
    known = assignments(options.source)
    found = list(find(options.submissions, known)) if known else []
    if not found:
        print(f"nothing to mark: no notebook in {options.submissions if known else options.source}", file=sys.stderr)
        return 1
    output = options.output
    for folder in (output / "records", output / "marked"):
        folder.mkdir(parents=True, exist_ok=True)
    empty = output / "empty.db"
    empty.unlink(missing_ok=True)
    autograde.create(empty, list(known.values()))

    limits = Limits(cell=options.seconds, total=options.total, memory=int(options.memory * 2**30))
    todo = [(s, output / "records" / f"{key(s, known, limits)}.json") for s in found]
    done = sum(record.exists() for _, record in todo)
    print(f"{len(todo)} notebooks, {done} marked before; {options.jobs} at a time", flush=True)
    hidden = [options.submissions, output, options.source]
    marking = Marking(options.source, output, limits, unsafe=options.unsafe, hidden=hidden)
    outcomes, start = [], time.monotonic()
    try:
        for outcome in marking.all(todo, options.jobs):
            outcomes.append(outcome)
            new = len(outcomes) - done
            left = (time.monotonic() - start) / new * (len(todo) - len(outcomes)) / 60 if new > 0 else 0
            marks = f"{report.number(outcome.marks)} of {report.number(outcome.points)}"
            note = f", {outcome.note}" if outcome.note else ""
            said = f"[{len(outcomes)}/{len(todo)}, {left:.0f} min left] {outcome.handed_in}: {marks}{note}"
            print("".join(c if c.isprintable() else "?" for c in said), flush=True)  # a note may quote a stranger
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    report.tables(outcomes, output)
    report.pages(outcomes, output / "feedback")
    book = output / "gradebook.db"
    shutil.copy(empty, book)
    autograde.enter(book, outcomes)
    print(f"marks: {output / 'marks.csv'}; feedback: {output / 'feedback'}; gradebook: {book}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
