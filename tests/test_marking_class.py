"""A whole class, with nbgrader: one table, one page a student, and a killed run that goes on."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from textwrap import indent

import marking_tools as tools
import nbformat
import pytest

pytest.importorskip("nbgrader", reason="marking a class needs the extra `teach`")

from course_lib.marking import __main__ as command

ROOT = Path(__file__).resolve().parents[1]
UNSAFE = [] if tools.WALLS else ["--unsafe"]
LIMITS = ["--jobs", "1", "--seconds", "5", "--memory", "1.5"]
RIGHT = tools.RIGHT


def mark(folder: Path, source: Path, *more: str) -> int:
    return command.main([str(folder), "--source", str(source), *LIMITS, *UNSAFE, *more])


def rows(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def hand_in(folder: Path, name: str, nb: nbformat.NotebookNode) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """A class with odd names, a broken file, a stranger's notebook and one that is honest; marked once."""
    root = tmp_path_factory.mktemp("class of '26, ñ")
    source, folder = tools.write_source(root / "source"), root / "handed in"
    hand_in(folder, "Zoë O'Neil \"Z\"/tiny/tiny.ipynb", tools.notebook(source, RIGHT))
    hand_in(folder, "=cmd()/tiny.ipynb", tools.notebook(source, RIGHT | {"half": "return 0.0"}))
    leaves = {"half": "import os; os._exit(1)", "twice": RIGHT["twice"]}
    lost = tools.notebook(source, leaves)
    lost.cells = [cell for cell in lost.cells if cell.id != "slope-check"]
    hand_in(folder, "李 雷_tiny.ipynb", lost)
    (folder / "broken").mkdir()
    (folder / "broken" / "tiny.ipynb").write_bytes(b'{"cells": [')
    (folder / "nothing <b>").mkdir()
    (folder / "nothing <b>" / "essay.txt").write_text("my dog")
    status = mark(folder, source)
    return root, source, folder, status


def test_every_notebook_has_a_row_with_its_marks_or_a_line(school):
    root, _, _, status = school
    found = {row["student"]: row for row in rows(root / "handed in-marks" / "marks.csv")}
    assert status == 0
    marks = {student: (row["marks"], row["of"]) for student, row in found.items()}
    assert marks == {
        "Zoë O'Neil \"Z\"": ("6", "6"), "'=cmd()": ("5", "6"), "李 雷": ("2", "6"),
        "broken": ("0", "6"), "nothing <b>": ("0", "0"),
    }  # fmt: skip
    assert found["李 雷"]["note"] == "slope-check was missing" and not found["'=cmd()"]["note"]
    assert "not JSON" in found["broken"]["note"] and "not a regular file" in found["nothing <b>"]["note"]
    each = {(r["student"], r["exercise"]): r for r in rows(root / "handed in-marks" / "exercises.csv")}
    assert "ended the process" in each["李 雷", "half"]["what the check said"]
    assert each["'=cmd()", "half"]["marks"] == "0" and "got 0" in each["'=cmd()", "half"]["what the check said"]


def test_every_student_has_a_page_that_stands_alone_and_keeps_the_hidden_tests(school):
    pages = list((school[0] / "handed in-marks" / "feedback").glob("*.html"))
    assert len(pages) == 5
    for page in pages:
        text = page.read_text("utf-8")
        assert "<h1>Feedback for" in text and "secret number" not in re.sub(r"holds: .*", "", text)
        assert not re.search(r"https?://|<script|src=", text) and "<b>" not in text
        assert "HIDDEN" not in text


def test_the_gradebook_has_the_class(school):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{school[0] / 'handed in-marks' / 'gradebook.db'}") as book:
        scores = {s.student.id: s.score for s in book.assignment_submissions("tiny")}
    assert scores == {"Zoë O'Neil \"Z\"": 6, "=cmd()": 5, "李 雷": 2}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_notebooks_of_one_student_the_better_counts(tmp_path, order):
    from nbgrader.api import Gradebook

    from course_lib.marking import autograde
    from course_lib.marking.run import outcome

    book, outcomes = tmp_path / "gradebook.db", []
    autograde.create(book, [tools.assignment(tmp_path / "source")])
    for k, marks in enumerate(({"twice": 2, "half": 0, "slope": 0}, {"twice": 2, "half": 0, "slope": 3})):
        exercises = [{"id": name, "marks": mark} for name, mark in marks.items()]
        record = {"student": "ada", "assignment": "tiny", "handed_in": f"{k}.ipynb", "marks": sum(marks.values())}
        (tmp_path / f"{k}.json").write_text(json.dumps(record | {"points": 6, "note": "", "exercises": exercises}))
        outcomes.append(outcome(tmp_path / f"{k}.json"))
    autograde.enter(book, [outcomes[k] for k in order])
    with Gradebook(f"sqlite:///{book}") as found:
        assert found.find_submission("tiny", "ada").score == 5


def test_again_it_marks_only_what_has_changed(school, capsys):
    root, source, folder, _ = school
    records = root / "handed in-marks" / "records"
    before = {p.name: p.stat().st_mtime_ns for p in records.glob("*.json")}
    table = (root / "handed in-marks" / "marks.csv").read_bytes()
    assert mark(folder, source) == 0
    assert "5 notebooks, 5 marked before" in capsys.readouterr().out
    assert {p.name: p.stat().st_mtime_ns for p in records.glob("*.json")} == before
    assert (root / "handed in-marks" / "marks.csv").read_bytes() == table
    hand_in(folder, "=cmd()/tiny.ipynb", tools.notebook(source, RIGHT))
    assert mark(folder, source) == 0
    assert "5 notebooks, 4 marked before" in capsys.readouterr().out
    found = {row["student"]: row["marks"] for row in rows(root / "handed in-marks" / "marks.csv")}
    assert found["'=cmd()"] == "6"


def test_killed_and_started_again_it_gives_the_marks_of_one_run(tmp_path):
    source, folder = tools.write_source(tmp_path / "source"), tmp_path / "in"
    for k in range(2):
        hand_in(folder, f"s{k}/tiny.ipynb", tools.notebook(source, dict(list(RIGHT.items())[:k])))
    line = [sys.executable, "-m", "course_lib.marking", str(folder), "--source", str(source), *LIMITS, *UNSAFE]
    run = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, start_new_session=True)
    while not re.match(r"\[1/2", run.stdout.readline()):
        assert run.poll() is None
    os.killpg(run.pid, 9)
    run.wait()
    time.sleep(0.2)
    done = len(list((tmp_path / "in-marks" / "records").glob("*.json")))
    assert done == 1
    again = subprocess.run(line, capture_output=True, text=True)
    assert again.returncode == 0 and "2 notebooks" in again.stdout and "0 marked before" not in again.stdout
    assert [row["marks"] for row in rows(tmp_path / "in-marks" / "marks.csv")] == ["0", "2"]


def test_an_examiner_that_dies_leaves_a_line_and_the_others_their_marks(tmp_path, monkeypatch):
    from course_lib.marking.run import Marking, Submission
    from course_lib.marking.sandbox import Limits

    marking = Marking(tmp_path, tmp_path, Limits(), unsafe=True, hidden=[])
    (tmp_path / "records").mkdir()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    outcome = marking.one(Submission("a", None, tmp_path / "a.ipynb", "a.ipynb"), tmp_path / "records" / "a.json")
    assert outcome.marks == 0 and "could not be marked" in outcome.note and outcome.read()["exercises"] == []


def test_nbgrader_hands_out_the_notebooks_of_the_exercises_cell_by_cell(tmp_path, monkeypatch):
    """Answers, hidden tests and remarks for instructors go; what is left has the same cells, locks and checksums."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    from course_lib.marking.preprocessors import configure

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # it looks there for alembic
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    configure(config)
    api = NbGraderAPI(config=config)
    paths = sorted((ROOT / "solutions").glob("*.ipynb"))
    assert len(paths) == 6
    for path in paths:
        hand_in(tmp_path, f"source/{path.stem}/{path.name}", nbformat.read(path, as_version=4))
        done = api.generate_assignment(path.stem)
        assert done["success"], done["error"]
        released = nbformat.read(tmp_path / "release" / path.stem / path.name, as_version=4)
        given = nbformat.read(ROOT / "exercises" / path.name, as_version=4)
        assert released.cells == given.cells, path.name


def test_nbgrader_takes_the_generated_notebooks_without_a_warning(tmp_path):
    """Its own way: source, release, autograde of a solved notebook; checksums agree, marks are full."""
    source = tools.write_source(tmp_path / "masters")
    two_lines = "from course_lib.marking.preprocessors import configure\nconfigure(get_config())\n"
    (tmp_path / "nbgrader_config.py").write_text(two_lines)
    assert indent(two_lines, "    ") in (ROOT / "book/instructors.md").read_text("utf-8")
    nb = nbformat.read(source / "tiny.ipynb", as_version=4)
    hand_in(tmp_path, "source/tiny/tiny.ipynb", nb)
    hand_in(tmp_path, "submitted/ada/tiny/tiny.ipynb", tools.notebook(source, RIGHT))
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    for step in (["generate_assignment"], ["autograde"]):
        line = [sys.executable, "-m", "nbgrader", *step, "tiny", f"--CourseDirectory.root={tmp_path}"]
        result = subprocess.run(line, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        told = [text for text in result.stderr.splitlines() if "WARNING" in text and "nbgrader" in text]
        assert not told, told
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as book:
        assert book.find_submission("tiny", "ada").score == 6 - 1  # without our examiner `half` may change `counted`


def test_records_hold_what_a_check_said(school):
    records = [json.loads(p.read_text("utf-8")) for p in (school[0] / "handed in-marks" / "records").glob("*.json")]
    assert all({"student", "marks", "points", "exercises", "seconds"} <= set(r) for r in records)
    held = [ex["held"] for r in records for ex in r["exercises"] if ex["id"] == "twice" and ex["marks"]]
    assert held and all("holds: the secret number" in text for text in held)


def test_a_run_keeps_a_line_of_each_notebook_in_memory(school, tmp_path):
    from course_lib.marking.run import outcome

    path = next((school[0] / "handed in-marks" / "records").glob("*.json"))
    record = json.loads(path.read_text("utf-8")) | {"exercises": [{"answer": "x" * 10**6}]}
    (tmp_path / "long.json").write_text(json.dumps(record))
    kept = outcome(tmp_path / "long.json")
    assert len(repr(kept)) < 1000 and kept.read() == record
