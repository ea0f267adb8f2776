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


SEEN = {  # of answers whose values are right and whose means are not allowed; what is not seen stands in the notes
    "ch1-midpoint": "not strictly monotone",  # solve refuses to go nowhere
    "ch2-jacobian": "automatic differentiation was used",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEN)
def test_means_that_are_not_allowed_are_seen_from_another_process(name, tmp_path):
    path = next(path for path in MASTERS if path.stem.startswith(name.split("-")[0]))
    master = masters.read(path)
    nbformat.write(masters.notebook(master, student=False), tmp_path / path.name.replace(".md", ".ipynb"))
    examination = Examination(read(tmp_path / f"{path.stem}.ipynb"), LIMITS, tmp_path, kind())
    answers = [code for code, _ in master.exercises[name].wrong if "solve(f" in code or "jacrev" in code]
    try:
        for cell in masters.notebook(master, student=True).cells:
            if cell.id == name:
                break
            if cell.cell_type == "code" and not cell.id.endswith("-check"):
                examination.run(cell.source)
        for answer in answers:
            examination.run(answer)
            assert SEEN[name] in examination.check(f"{name}-check")[1]
        for answer in master.exercises[name].right:
            examination.run(answer)
            assert examination.check(f"{name}-check")[1] == ""
    finally:
        examination.stop()
    assert answers
