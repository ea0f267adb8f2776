"""Every exercise of the course is marked as it should be with its checks in another process than its answers."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from marking_tools import kind

from course_lib.authoring import masters
from course_lib.marking.examiner import Examination, examine
from course_lib.marking.restore import load, restore
from course_lib.marking.sandbox import Limits
from course_lib.marking.source import read

ROOT = Path(__file__).resolve().parents[1]
LIMITS = Limits(cell=240, total=900)  # several tests may share the cores
MASTERS = sorted((ROOT / "solutions").glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_solved_it_has_full_marks_and_a_wrong_answer_has_none(path, tmp_path):
    master = masters.read(path)
    for name, student in (("solved", False), ("untouched", True)):
        nbformat.write(masters.notebook(master, student=student), tmp_path / f"{name}.ipynb")
    source = read(tmp_path / "solved.ipynb")
    nb, notes = restore(load(tmp_path / "solved.ipynb"), source)
    assert not notes
    examination = Examination(source, LIMITS, tmp_path, kind())
    try:
        said = {name: failed for name, (_, failed) in examine(nb, examination).items()}
        assert said == dict.fromkeys(master.exercises, "")
        blanks = {cell.id: cell.source for cell in masters.notebook(master, student=True).cells}
        for ex in master.exercises.values():
            examination.run(ex.wrong[0][0])
            assert examination.check(f"{ex.id}-check")[1].startswith("Not yet"), f"{ex.id}: {ex.wrong[0][1]}"
            examination.run(blanks[ex.id])
            assert examination.check(f"{ex.id}-check")[1] == "Not answered yet."
    finally:
        examination.stop()
