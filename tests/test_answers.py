"""Answers put into the students' notebooks: right ones written in other ways pass, senseless ones get one clear line.

Each is tried where a student stands: in the student's notebook, with all other blanks still unfilled. The hidden tests
are run as well.
"""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from course_lib.authoring import masters
from course_lib.checks import CheckFailed

MASTERS = {path.stem: masters.read(path) for path in sorted((Path(__file__).parents[1] / "solutions").glob("*.md"))}
# What a function may return that is no answer; each is put in the place of all functions of a blank.
SENSELESS = [
    "None", "'text'", "[]", "(None, None)", "-1.5", "torch.zeros(7, 7)", "torch.tensor(float('nan'))", "1 / 0",
    "lambda *a: None",
]  # fmt: skip


def run(source: str, name: str, namespace: dict) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(source, name, "exec"), namespace)


def attempts(master: masters.Master) -> Iterator[tuple[masters.Exercise, Callable[[str], None]]]:
    """Each exercise, and a function that tries an answer: in the place of the blank, up to the end of the check."""
    namespace: dict = {}
    for cell in masters.notebook(master, student=True).cells:
        exercise = master.exercises.get(cell.id.removesuffix("-check"))
        if cell.cell_type != "code":
            continue
        if exercise is None or cell.id == exercise.id:
            with contextlib.suppress(NotImplementedError):  # it applies an answer that is not there
                run(cell.source, cell.id, namespace)
            continue
        blank = namespace.copy()

        def attempt(answer: str, exercise: masters.Exercise = exercise) -> None:
            run(answer, exercise.id, namespace)
            run(master.cells[exercise.check].source, f"{exercise.id}-check", namespace)

        yield exercise, attempt
        namespace.clear()
        namespace.update(blank)


@pytest.mark.parametrize("name", MASTERS)
def test_right_answers_written_another_way_pass(name):
    rejected = []
    for exercise, attempt in attempts(MASTERS[name]):
        for k, answer in enumerate(exercise.right):
            try:
                attempt(answer)
            except Exception as error:
                rejected.append(f"{exercise.id}, right answer {k}: {type(error).__name__}: {error}")
    assert not rejected, "\n".join(rejected)


@pytest.mark.parametrize("name", MASTERS)
def test_senseless_answers_get_one_clear_line(name):
    for exercise, attempt in attempts(MASTERS[name]):
        blank = ast.parse(MASTERS[name].cells[exercise.blank].source)
        functions = [node.name for node in blank.body if isinstance(node, ast.FunctionDef)]
        for value in SENSELESS:
            answer = "\n".join(f"def {function}(*_, **__):\n    return {value}\n" for function in functions)
            with pytest.raises(CheckFailed) as failure:
                attempt(answer)
            said = f"{exercise.id}, {value}: {failure.value}"
            assert 10 < len(str(failure.value)) < 300 and "\n" not in said, said
            assert failure.value.__suppress_context__ or failure.value.__context__ is None, said
