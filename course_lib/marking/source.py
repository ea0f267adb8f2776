"""An assignment as its instructor's notebook holds it: blanks, checks with hidden tests, and the cells between."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from ..authoring.masters import BEGIN_SOLUTION, END_SOLUTION, replace_between, stub


@dataclass(frozen=True)
class Exercise:
    """A blank with its check: names, marks, and what the blank defines."""

    id: str
    points: float
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Assignment:
    """What an assignment is marked by; ``key`` changes with anything that could change a mark."""

    name: str
    cells: tuple[NotebookNode, ...]
    exercises: dict[str, Exercise]
    key: str

    @property
    def points(self) -> float:
        return sum(ex.points for ex in self.exercises.values())


def grade_id(cell: NotebookNode) -> str:
    """nbgrader's name of a cell, or nothing."""
    marks = cell.metadata.get("nbgrader")
    name = marks.get("grade_id") if isinstance(marks, dict) else None
    return name if isinstance(name, str) else ""


def defined(source: str) -> tuple[str, ...]:
    """The names that a cell's statements define at its top level; none if it does not parse."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    names = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return tuple(dict.fromkeys(names))


def helps(source: str, answers: set[str]) -> bool:
    """Whether a cell between the exercises can matter to a check: it defines something, or uses no answer."""
    tree = ast.parse(source)
    if any(isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom) for n in tree.body):
        return True
    return not answers & {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}


def read(path: Path) -> Assignment:
    """The assignment of an instructor's notebook, its outputs and solutions left out."""
    nb = nbformat.read(path, as_version=4)
    exercises: dict[str, Exercise] = {}
    blanks: dict[str, tuple[str, ...]] = {}
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
        marks = cell.metadata.get("nbgrader", {})
        if marks.get("solution"):
            blanks[marks["grade_id"]] = defined(cell.source)
            cell.source = replace_between(cell.source, BEGIN_SOLUTION, END_SOLUTION, stub(marks["grade_id"]))
        elif marks.get("grade"):
            name = marks["grade_id"].removesuffix("-check")
            exercises[name] = Exercise(name, float(marks["points"]), blanks[name])
    library = Path(__file__).resolve().parents[1]
    text = "".join(cell.source for cell in cells)
    parts = [p.read_bytes() for folder in ("checks", "marking") for p in sorted((library / folder).glob("*.py"))]
    key = hashlib.sha256(b"".join([text.encode(), *parts])).hexdigest()[:16]
    return Assignment(path.stem, tuple(cells), exercises, key)


def assignments(folder: Path) -> dict[str, Assignment]:
    """Every assignment of a folder of instructors' notebooks, by name."""
    found = [read(path) for path in sorted(folder.glob("*.ipynb"))]
    return {a.name: a for a in found if a.exercises}
