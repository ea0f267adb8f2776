"""Three states of every exercise notebook: untouched, solved, and answered wrongly.

The cells run one after another in one namespace here, which is quick; nbval runs the solutions in real kernels.
"""

from __future__ import annotations

import contextlib
import io
import re
import traceback
from pathlib import Path

import pytest

from course_lib.authoring import masters
from course_lib.checks import CheckFailed

ROOT = Path(__file__).resolve().parents[1]
MASTERS = {path.stem: masters.read(path) for path in sorted((ROOT / "solutions").glob("*.md"))}
WRONG = [
    (name, ex.id, k)
    for name, master in MASTERS.items()
    for ex in master.exercises.values()
    for k in range(len(ex.wrong))
]


def run(source: str, name: str, namespace: dict) -> None:
    """Execute one cell; its lines appear in tracebacks under the cell's name."""
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(source, name, "exec"), namespace)


def code_cells(master: masters.Master, *, student: bool) -> list[tuple[str, str]]:
    """(cell id, source) of every code cell of one notebook."""
    cells = masters.notebook(master, student=student).cells
    return [(cell.id, cell.source) for cell in cells if cell.cell_type == "code"]


def test_there_are_exercises():
    assert MASTERS and all(len(master.exercises) >= 5 for master in MASTERS.values())


@pytest.mark.parametrize("name", MASTERS)
def test_untouched_it_fails_only_in_blanks(name):
    master, namespace = MASTERS[name], {}
    unanswered = set()
    for cell, source in code_cells(master, student=True):
        try:
            run(source, cell, namespace)
        except NotImplementedError as error:
            innermost = traceback.extract_tb(error.__traceback__)[-1]
            assert innermost.filename in master.exercises, f"{cell}: NotImplementedError came from elsewhere"
            unanswered.add(innermost.filename)
        except Exception as error:
            pytest.fail(f"{name}, cell {cell}: {type(error).__name__}: {error}; only an empty blank may fail")
    assert unanswered == set(master.exercises), "a blank that no cell calls is checked by nothing"


@pytest.mark.parametrize("name", MASTERS)
def test_solved_it_passes_every_check(name):
    namespace: dict = {}
    for cell, source in code_cells(MASTERS[name], student=False):
        run(source, cell, namespace)


@pytest.mark.parametrize("name", MASTERS)
def test_no_line_of_an_answer_is_in_the_student_notebook(name):
    master = MASTERS[name]
    student = masters.notebook(master, student=True)
    places = {cell.id: k for k, cell in enumerate(student.cells)}
    shown = {line.strip() for cell in student.cells for line in cell.source.splitlines()}
    for ex in master.exercises.values():
        answers = re.findall(
            rf"{masters.BEGIN_SOLUTION}\n(.*?){masters.END_SOLUTION}", master.cells[ex.blank].source, flags=re.DOTALL
        )
        # Answers to try are taken out whole. Of their lines a head such as "for w in weights:" and a bare return give
        # nothing away, nor does the head of the function, which the student is given.
        given = {line.strip() for line in student.cells[places[ex.id]].source.splitlines()}
        tried = {line.strip() for answer in ex.right for line in answer.splitlines()} - given
        tried = {line for line in tried if not re.fullmatch(r".*:|return [\w, ]+", line)}
        lines = {line.strip() for answer in answers for line in answer.splitlines()} | tried
        leaked = {line for line in lines if len(line) > 8} & shown
        assert not leaked, f"{ex.id}: {sorted(leaked)}"
    assert not any(cell.get("outputs") for cell in student.cells)


@pytest.mark.parametrize("name, exercise, k", WRONG)
def test_a_wrong_answer_is_rejected_in_the_problems_own_terms(name, exercise, k):
    """Everything up to the check, with this blank answered wrongly; the check must say what is wrong."""
    master, namespace = MASTERS[name], {}
    answer, says = master.exercises[exercise].wrong[k]
    for cell, source in code_cells(master, student=False):
        if cell != f"{exercise}-check":
            run(answer if cell == exercise else source, cell, namespace)
            continue
        # Hidden tests are left out: the student's own check must already see the mistake.
        visible = masters.replace_between(source, masters.BEGIN_HIDDEN, masters.END_HIDDEN, None)
        with pytest.raises(CheckFailed) as failure:
            run(visible, cell, namespace)
        assert re.search(says, str(failure.value)), f"said {failure.value!s}, which does not match {says!r}"
        return
    pytest.fail(f"{exercise} has no check")
