"""The instructors' page takes its plan and its mistakes from the masters and the pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes

from course_lib.authoring import masters, teaching

ROOT = Path(__file__).resolve().parents[1]
MASTERS = sorted((ROOT / "solutions").glob("*.md"))


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_every_exercise_has_its_mistakes_and_a_remark(path):
    master = masters.read(path)
    text = "\n".join(teaching.mistakes(master))
    parts = text.split("The check tells:")[1:]
    assert len(parts) == len(master.exercises)
    for part in parts:
        told = [line for line in part.splitlines() if line.startswith("- “")]
        assert len(told) >= 2 and not any(mark in line for line in told for mark in (".*", "\\", "|"))
    assert "*What to say.*" in text


def test_a_check_that_may_say_two_things_is_quoted_twice():
    assert teaching.told(r"got \(3, 2\)\.|no .* at the start") == "“got (3, 2).” or “no … at the start”"


@pytest.mark.parametrize("page", sorted((ROOT / "book").glob("ch[0-9]*.md")), ids=lambda path: path.stem)
def test_every_chapter_says_how_long_it_takes(page):
    assert teaching.TIME.search(page.read_text("utf-8"))


def test_the_plan_has_a_row_a_chapter(monkeypatch):
    place = nodes.container(lesson_plan=True)
    tree = nodes.section("", place)
    titles = {"book/ch6_forecasts": "Forecasts", "book/ch1_euler": "Euler", "book/ch6_lotka_volterra": "Rates"}
    env = SimpleNamespace(
        found_docs={"book/notation", *titles}, titles={page: nodes.title("", said) for page, said in titles.items()},
        nb_metadata={"book/ch1_euler": {"exec_data": {"runtime": 41.7}}},
    )  # fmt: skip
    builder = SimpleNamespace(get_relative_uri=lambda here, there: f"{there}.html")
    teaching.fill_plan(SimpleNamespace(srcdir=str(ROOT), env=env, builder=builder), tree, "book/instructors")
    cells = [entry.astext() for entry in tree.findall(nodes.entry)]
    said = "an hour and a half to read, and 100 minutes for the exercises"
    assert cells[4:8] == ["Euler", said, "42 s", "100 minutes, 20 marks"]
    assert cells[8::4] == ["Rates", "Forecasts"]  # in the order of the book


def test_the_page_names_every_key_that_a_master_may_carry():
    """The table of keys is that of the format's own description."""
    page = (ROOT / "book" / "instructors.md").read_text("utf-8")
    keys = re.findall(r"^``(\w+): ", masters.__doc__, flags=re.MULTILINE)
    assert keys == ["exercise", "check", "wrong", "right", "tags"]
    assert re.findall(r"^\| `(\w+): ", page, flags=re.MULTILINE) == keys


def test_the_image_of_a_class_holds_what_marking_and_exercises_need():
    """repo2docker runs pip in the root folder, where the constraints are above the file; then `postBuild` decides."""
    folder = ROOT / "binder"
    lines = [line for line in (folder / "requirements.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines == ["-c ../constraints.txt", "torch", "-e .[teach]"] and (folder / "../constraints.txt").is_file()
    assert (folder / "apt.txt").read_text("utf-8").split() == ["bubblewrap"]
    version = re.fullmatch(r"python-3\.(\d+)", (folder / "runtime.txt").read_text("utf-8").strip())
    assert 11 <= int(version[1]) <= 13
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    run = subprocess.run([folder / "postBuild"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
