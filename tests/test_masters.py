"""The exercise pipeline: what a master gives, and what it refuses."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import nbformat
import pytest

from course_lib.authoring import exercises, masters

ROOT = Path(__file__).resolve().parents[1]
HEAD = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# Exercises

Do this.

<details><summary>Hint 1</summary>a</details>
<details><summary>Hint 2</summary>b</details>
<details><summary>Hint 3</summary>c</details>

"""
BLANK = """```{code-cell} ipython3
---
exercise: twice
minutes: 5
---
def twice(x):
    \"\"\"Two times x.\"\"\"
    ### BEGIN SOLUTION
    secret = 2 * x
    return secret
    ### END SOLUTION
```

"""
CHECK = """```{code-cell} ipython3
---
check: twice
points: 2
---
assert twice(2) == 4, "doubles"
### BEGIN HIDDEN TESTS
assert twice(-1) == -2, "hidden"
### END HIDDEN TESTS
```

"""
REMARK = """+++ {"tags": ["instructor"]}

For your eyes.

+++

"""


def wrong(code: str = "def twice(x): return x", says: str = "doubles") -> str:
    return f"```{{code-cell}} ipython3\n---\nwrong: twice\nsays: {says}\n---\n{code}\n```\n\n"


def right(code: str) -> str:
    return f"```{{code-cell}} ipython3\n---\nright: twice\n---\n{code}\n```\n\n"


ANOTHER = right("def twice(x): return x * 2.0")
GOOD = HEAD + BLANK + CHECK + wrong() + wrong("def twice(x): return 3 * x") + right("def twice(x): return x + x")
GOOD += ANOTHER + REMARK


@pytest.fixture
def root(tmp_path):
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "tiny.md").write_text(GOOD, encoding="utf-8")
    return tmp_path


def test_the_student_gets_the_blank_and_the_check_and_nothing_of_the_answer(root):
    master = masters.read(root / "solutions" / "tiny.md")
    student = nbformat.writes(masters.notebook(master, student=True))
    for leak in ("secret", "hidden", "HIDDEN", "SOLUTION", "3 * x", "x + x", "For your eyes"):
        assert leak not in student
    blank = masters.notebook(master, student=True).cells[1]
    assert blank.source.endswith('    raise NotImplementedError("twice: put your answer here")')
    assert '"""Two times x."""' in blank.source


def test_the_instructor_gets_answer_hidden_test_and_remark_but_no_answer_to_try(root):
    master = masters.read(root / "solutions" / "tiny.md")
    whole = nbformat.writes(masters.notebook(master, student=False))
    assert all(part in whole for part in ("secret", "BEGIN HIDDEN TESTS", "For your eyes"))
    assert "3 * x" not in whole and "x + x" not in whole


def test_both_carry_the_same_nbgrader_marks(root):
    master = masters.read(root / "solutions" / "tiny.md")
    for student in (False, True):
        cells = masters.notebook(master, student=student).cells
        marks = {cell.id: cell.metadata.nbgrader for cell in cells if "nbgrader" in cell.metadata}
        assert marks["twice"]["solution"] and not marks["twice"]["grade"] and not marks["twice"]["locked"]
        assert marks["twice-check"]["grade"] and marks["twice-check"]["locked"]
        assert marks["twice-check"]["points"] == 2


def test_the_checksums_are_of_what_stands_in_the_cell(root):
    master = masters.read(root / "solutions" / "tiny.md")
    for student in (False, True):
        cells = {cell.id: cell for cell in masters.notebook(master, student=student).cells}
        for name, tail in (("twice", "codeFalseTrueFalsetwice"), ("twice-check", "codeTrueFalseTruetwice-check2.0")):
            expected = hashlib.md5((cells[name].source + tail).encode()).hexdigest()
            assert cells[name].metadata.nbgrader.checksum == expected
        assert ("editable" in cells["twice-check"].metadata) is student


@pytest.mark.parametrize("path", sorted((ROOT / "solutions").glob("*.md")), ids=lambda path: path.stem)
def test_the_opening_says_the_minutes_and_marks_of_the_exercises(path):
    """The table that the author types, and the marks of the score, are those of the cells."""
    master = masters.read(path)
    row = r"^\| \d+ \| `([^`]+)` \| [^|]+ \| (\d+) \| (\d+) \|$"
    rows = re.findall(row, master.cells[0].source, flags=re.MULTILINE)
    assert rows == [(ex.id, str(ex.minutes), str(ex.points)) for ex in master.exercises.values()]
    score = next(cell.source for cell in master.cells if "checks.Score(" in cell.source)
    assert "checks.environment()" in score, "the first cell checks the environment"
    marks = {name: int(points) for name, points in re.findall(r'"([^"]+)": (\d+)', score)}
    assert marks == {ex.id: ex.points for ex in master.exercises.values()}
    assert "score.summary()" in [cell for cell in master.cells if cell.cell_type == "code"][-1].source
    assert f"{sum(marks.values())} marks" in master.cells[0].source


def test_writing_twice_gives_the_same_bytes_and_no_drift(root):
    names = [root / folder / "tiny.ipynb" for folder in ("solutions", "exercises")]
    assert exercises.main(["--root", str(root)]) == 0
    first = [name.read_bytes() for name in names]
    assert exercises.main(["--root", str(root)]) == 0
    assert [name.read_bytes() for name in names] == first
    assert exercises.main(["--check", "--root", str(root)]) == 0


@pytest.mark.parametrize("folder", ["solutions", "exercises"])
def test_a_notebook_edited_by_hand_is_drift(root, folder, capsys):
    exercises.main(["--root", str(root)])
    path = root / folder / "tiny.ipynb"
    path.write_text(path.read_text("utf-8").replace("Do this.", "Do that."), encoding="utf-8")
    assert exercises.main(["--check", "--root", str(root)]) == 1
    assert f"{folder}/tiny.ipynb: differs from its master" in capsys.readouterr().out.replace("\\", "/")


def test_a_solution_notebook_without_outputs_is_a_fault(root, capsys):
    exercises.main(["--root", str(root)])
    path = root / "solutions" / "tiny.ipynb"
    nbformat.write(exercises.without_outputs(nbformat.read(path, as_version=4)), path)
    assert exercises.main(["--check", "--root", str(root)]) == 1
    assert "was not executed" in capsys.readouterr().out


def test_a_solution_that_fails_leaves_the_notebooks_as_they_were(root):
    exercises.main(["--root", str(root)])
    before = (root / "solutions/tiny.ipynb").read_bytes()
    path = root / "solutions" / "tiny.md"
    path.write_text(GOOD.replace("secret = 2 * x", "secret = x"), encoding="utf-8")
    with pytest.raises(Exception, match="doubles"):
        exercises.main(["--root", str(root)])
    assert (root / "solutions/tiny.ipynb").read_bytes() == before


REFUSED = {
    "no markers": (GOOD.replace("### BEGIN SOLUTION", "#"), "a blank needs"),
    "one wrong answer": (GOOD.replace(wrong(), ""), "1 seeded wrong answers"),
    "one right answer": (GOOD.replace(ANOTHER, ""), "1 right answers written in another way"),
    "no check": (GOOD.replace(CHECK, ""), "needs a check in the cell below it"),
    "check far below": (GOOD.replace(CHECK, "```{code-cell} ipython3\nx = 1\n```\n\n" + CHECK), "in the cell below it"),
    "no points": (GOOD.replace("points: 2", "points: 0"), "worth at least one point"),
    "two hints": (GOOD.replace("<details><summary>Hint 3</summary>c</details>", ""), "three <details> steps"),
    "id twice": (GOOD + BLANK, "stands twice"),
    "check of nothing": (GOOD + CHECK.replace("check: twice", "check: thrice"), "no exercise of that id"),
    "no exercise": (HEAD, "has no exercise"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_broken_master_is_refused_in_one_line(root, fault, capsys):
    text, said = REFUSED[fault]
    (root / "solutions" / "tiny.md").write_text(text, encoding="utf-8")
    assert exercises.main(["--root", str(root)]) == 1
    message = capsys.readouterr().err
    assert said in message and message.count("\n") == 1
    assert not (root / "exercises" / "tiny.ipynb").exists()
