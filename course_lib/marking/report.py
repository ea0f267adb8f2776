"""What comes out: a table of marks, one of exercises, and a page of feedback for every student."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path

from .one import write
from .run import Outcome

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
.missed { border-left: .3rem solid #c2410c; padding-left: .7rem; }
.held { border-left: .3rem solid #15803d; padding-left: .7rem; }
"""


def number(x: float) -> str:
    return f"{x:g}"


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    text = " ".join(str(text).split())
    return f"'{text}" if text[:1] in tuple("=+-@") else text


def ordered(outcomes: list[Outcome]) -> Iterator[dict]:
    """The records, by student and assignment, read one at a time."""
    for outcome in sorted(outcomes, key=lambda o: (o.student, o.assignment, o.handed_in)):
        yield outcome.read()


def tables(outcomes: list[Outcome], folder: Path) -> None:
    """``marks.csv``, one row a notebook, and ``exercises.csv``, one row an exercise."""
    marks, exercises = io.StringIO(), io.StringIO()
    one, each = csv.writer(marks), csv.writer(exercises)
    one.writerow(["student", "assignment", "marks", "of", "note", "file"])
    each.writerow(["student", "assignment", "exercise", "marks", "of", "what the check said"])
    for r in ordered(outcomes):
        head = [cell(r["student"]), cell(r["assignment"])]
        one.writerow([*head, number(r["marks"]), number(r["points"]), cell(r["note"]), cell(r["handed_in"])])
        for ex in r["exercises"]:
            said = cell(ex["failed"] or "these checks passed")
            each.writerow([*head, cell(ex["id"]), number(ex["marks"]), number(ex["points"]), said])
    write(folder / "marks.csv", marks.getvalue())
    write(folder / "exercises.csv", exercises.getvalue())


def file_name(student: str) -> str:
    """A name for a student's page that every file system takes, and that no other student has."""
    plain = unicodedata.normalize("NFKD", student).encode("ascii", "ignore").decode()
    tail = hashlib.sha256(student.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', plain).strip('-')[:40] or 'student'}-{tail}.html"


def folded(title: str, text: str) -> str:
    """A text behind its title, or nothing."""
    return f"<details><summary>{title}</summary><pre>{escape(text)}</pre></details>" if text else ""


def section(record: dict) -> str:
    """One notebook on a student's page."""
    title = escape(record["assignment"] or record["handed_in"])
    lines = [f"<h2>{title}: {number(record['marks'])} of {number(record['points'])} marks</h2>"]
    lines += [f"<p>File: {escape(record['handed_in'])}.</p>"]
    if record["note"]:
        lines += [f"<p>Note: {escape(record['note'])}.</p>"]
    for ex in record["exercises"]:
        passed = not ex["failed"]
        said = "these checks passed" if passed else ex["failed"]
        lines += [
            f'<section class="{"held" if passed else "missed"}">',
            f"<h3>{escape(ex['id'])}: {number(ex['marks'])} of {number(ex['points'])}</h3>",
            f"<p>{escape(said)}</p>",
            folded("What held", ex["held"]),
            folded("Your answer", ex["answer"]),
            "</section>",
        ]
    return "\n".join(line for line in lines if line)


def pages(outcomes: list[Outcome], folder: Path) -> None:
    """One page of feedback a student, that needs nothing else."""
    folder.mkdir(exist_ok=True)
    for student, own in groupby(ordered(outcomes), key=lambda record: record["student"]):
        body = "\n".join(section(record) for record in own)
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        head += f"<title>Feedback for {escape(student)}</title>"
        text = f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body><main>'
        text += f"<h1>Feedback for {escape(student)}</h1>\n{body}\n</main></body></html>\n"
        write(folder / file_name(student), text)
