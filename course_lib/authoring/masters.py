"""Exercise masters: MyST notebooks that mark blanks, checks and answers to try them on, and what is made of them.

A master (``solutions/NAME.md``) is the only source of two notebooks: the instructor's, with every answer, and the
student's, with ``raise NotImplementedError`` in each blank. Code cells say what they are in their metadata:

``exercise: ID``, ``minutes: N``
    a blank: the answer stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``;
``check: ID``, ``points: N``
    the self-check of that blank; lines between ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS`` are
    the instructor's;
``wrong: ID``, ``says: REGEX``
    a seeded wrong answer, the whole blank rewritten; the check must reject it with a message that matches;
``right: ID``
    a right answer written in another way than the solution; the check must accept it;
``tags: [instructor]``
    any cell kept from students.

The markers are nbgrader's, and so is the metadata that the notebooks carry (``grading``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from . import grading

BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class MasterError(ValueError):
    """A master breaks the format; the message names the file, the exercise and the mend."""


@dataclass
class Exercise:
    """One blank with its check and the wrong answers that the check must reject."""

    id: str
    minutes: int
    points: int = 0
    blank: int = -1
    check: int = -1
    wrong: list[tuple[str, str]] = field(default_factory=list)  # (code, regular expression for the message)
    right: list[str] = field(default_factory=list)  # code


@dataclass
class Master:
    """A parsed master: its name, its cells in order (answers to try taken out) and its exercises by id."""

    name: str
    cells: list[NotebookNode]
    exercises: dict[str, Exercise]


def read(path: Path) -> Master:
    """Parse and validate a master.

    Raises
    ------
    MasterError
        A blank without its markers or its check, a check worth nothing, fewer than two wrong answers or two right
        ones written in another way, or hints that do not come in three steps.
    """
    cells: list[NotebookNode] = []
    exercises: dict[str, Exercise] = {}
    for cell in jupytext.read(path, fmt="md:myst").cells:
        meta = cell.metadata
        name = meta.get("exercise") or meta.get("check") or meta.get("wrong") or meta.get("right")
        where = f"{path.name}: {name}"
        if "exercise" in meta:
            if name in exercises:
                raise MasterError(f"{where}: this id stands twice; give each exercise its own.")
            if BEGIN_SOLUTION not in cell.source or END_SOLUTION not in cell.source:
                raise MasterError(f"{where}: a blank needs {BEGIN_SOLUTION!r} and {END_SOLUTION!r}.")
            exercises[name] = Exercise(name, minutes=int(meta["minutes"]), blank=len(cells))
        elif name is not None and name not in exercises:
            raise MasterError(f"{where}: no exercise of that id stands before it.")
        elif "check" in meta:
            exercises[name].check, exercises[name].points = len(cells), int(meta["points"])
        if "wrong" in meta:
            exercises[name].wrong.append((cell.source, meta["says"]))
        elif "right" in meta:
            exercises[name].right.append(cell.source)
        else:
            cells.append(cell)
    master = Master(path.stem, cells, exercises)
    validate(master, path)
    return master


def validate(master: Master, path: Path) -> None:
    """Raise MasterError for an exercise that a student could not work or whose check is not proved."""
    for ex in master.exercises.values():
        where = f"{path.name}: {ex.id}"
        if ex.check != ex.blank + 1 or ex.points < 1:
            raise MasterError(f"{where}: needs a check in the cell below it, worth at least one point.")
        if len(ex.wrong) < 2:
            raise MasterError(f"{where}: has {len(ex.wrong)} seeded wrong answers; at least two are needed.")
        if len(ex.right) < 2:
            found = f"has {len(ex.right)} right answers written in another way"
            raise MasterError(f"{where}: {found}; at least two are needed.")
        prose = [cell for cell in master.cells[: ex.blank] if cell.cell_type == "markdown"]
        task = [cell for cell in prose if "instructor" not in cell.metadata.get("tags", [])][-1:]
        if not task or task[0].source.count("<details") != 3:
            raise MasterError(f"{where}: the cell before it needs hints in three <details> steps.")
    if not master.exercises:
        raise MasterError(f"{path.name}: has no exercise.")


def replace_between(source: str, begin: str, end: str, with_line: str | None) -> str:
    """Replace each marked region, markers included, by one line at its indent, or by nothing."""
    replacement = "" if with_line is None else rf"\1{with_line}\n"
    pattern = rf"^([ \t]*){re.escape(begin)}\n.*?^[ \t]*{re.escape(end)}(?:\n|\Z)"
    return re.sub(pattern, replacement, source, flags=re.MULTILINE | re.DOTALL).rstrip("\n")


def stub(exercise: str) -> str:
    """The line that stands in a blank."""
    return f'raise NotImplementedError("{exercise}: put your answer here")'


def notebook(master: Master, *, student: bool) -> NotebookNode:
    """The unexecuted instructor's or student's notebook of a master; the same master gives the same bytes."""
    nb = nbformat.v4.new_notebook(metadata=KERNEL)
    for k, cell in enumerate(master.cells):
        tags = cell.metadata.get("tags", [])
        if student and "instructor" in tags:
            continue
        source, metadata = cell.source, {"tags": list(tags)} if tags else {}
        if student and "exercise" in cell.metadata:
            source = replace_between(source, BEGIN_SOLUTION, END_SOLUTION, stub(cell.metadata["exercise"]))
        if student:
            source = replace_between(source, BEGIN_HIDDEN, END_HIDDEN, None)
        metadata |= grading.metadata(cell, source, student=student)
        new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        name = metadata.get("nbgrader", {}).get("grade_id", f"cell-{k:02d}")
        nb.cells.append(new(source, metadata=metadata, id=name))
    return nb
