"""nbgrader's autograding around the examiner: its preprocessors clean and restore, its gradebook keeps the marks."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook
from nbgrader.preprocessors import ComputeChecksums, SaveAutoGrades, SaveCells
from sqlalchemy.exc import SAWarning

from .examiner import Examination, examine
from .preprocessors import SANITIZE
from .restore import KERNEL
from .run import Outcome
from .source import Assignment


def quiet() -> None:
    """nbgrader's warnings of restored cells go into our own notes; and it looks for alembic beside this Python."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for name in ("traitlets", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=SAWarning)


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def apply(kinds: tuple, nb: NotebookNode, assignment: str, student: str, gradebook: Path) -> NotebookNode:
    """The notebook after some of nbgrader's preprocessors."""
    about = {"notebook": assignment, "assignment": assignment, "student": student, "db_url": url(gradebook)}
    for kind in kinds:
        nb, _ = kind().preprocess(nb, {"nbgrader": about})
    return nb


def create(gradebook: Path, assignments: list[Assignment]) -> None:
    """A gradebook that knows the assignments: their cells, marks and checksums."""
    quiet()
    for assignment in assignments:
        with Gradebook(url(gradebook)) as book:
            book.update_or_create_assignment(assignment.name)
        nb = new_notebook(cells=[cell.copy() for cell in assignment.cells], metadata={"kernelspec": KERNEL})
        apply((ComputeChecksums, SaveCells), nb, assignment.name, "", gradebook)


def autograde(
    nb: NotebookNode, assignment: Assignment, examination: Examination, gradebook: Path
) -> tuple[NotebookNode, dict[str, float], dict[str, tuple[str, str]]]:
    """The marked notebook, the marks by exercise as the gradebook has them, and what each check said."""
    quiet()
    student = "student"
    with Gradebook(url(gradebook)) as book:
        book.update_or_create_student(student)
        book.update_or_create_submission(assignment.name, student)
    nb = apply(SANITIZE, nb, assignment.name, student, gradebook)
    try:
        said = examine(nb, examination)
    finally:
        examination.stop()
    nb = apply((SaveAutoGrades,), nb, assignment.name, student, gradebook)
    with Gradebook(url(gradebook)) as book:
        grades = book.find_submission_notebook(assignment.name, assignment.name, student).grades
        marks = {grade.name.removesuffix("-check"): float(grade.auto_score or 0) for grade in grades}
    return nb, marks, said


def enter(gradebook: Path, outcomes: list[Outcome]) -> None:
    """Write the marks of a class into its gradebook; of two notebooks of one student the better counts."""
    quiet()
    with Gradebook(url(gradebook)) as book:
        for outcome in sorted(outcomes, key=lambda o: o.marks):
            record = outcome.read()
            if not record["exercises"]:
                continue
            book.update_or_create_student(record["student"])
            book.update_or_create_submission(record["assignment"], record["student"])
            submitted = book.find_submission_notebook(record["assignment"], record["assignment"], record["student"])
            marks = {f"{ex['id']}-check": ex["marks"] for ex in record["exercises"]}
            for grade in submitted.grades:
                grade.auto_score, grade.needs_manual_grade = marks[grade.name], False
        book.db.commit()
