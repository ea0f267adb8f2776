"""A submission as it is read from disk: whatever the file holds, a notebook with known cells or a line of refusal."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from .source import Assignment, defined, grade_id, helps

LARGEST = 20 * 2**20  # bytes of a file
CELLS = 2000
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class Refused(ValueError):
    """A file that cannot be marked; the message is the line that the instructor reads."""


def load(path: Path) -> NotebookNode:
    """The cells of a file, code and text alone; Refused if it is no notebook in Python."""
    if path.is_symlink() or not path.is_file():
        raise Refused("not a regular file")
    if (size := path.stat().st_size) > LARGEST:
        raise Refused(f"the file has {size / 2**20:.0f} MiB; the limit is {LARGEST // 2**20} MiB")
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        end = "it is empty" if size == 0 else "it is cut off or not JSON"
        raise Refused(f"not a notebook: {end} ({type(error).__name__})") from None
    try:
        nb = nbformat.convert(nbformat.from_dict(content), 4)
        kernel = nb.metadata.get("kernelspec", {})
        cells = [tidy(cell) for cell in nb.cells[:CELLS]]
    except Exception as error:  # whatever a stranger's JSON makes of a converter
        raise Refused(f"not a notebook: {type(error).__name__}: {error}"[:200]) from None
    language = kernel.get("language") or nb.metadata.get("language_info", {}).get("name") or "python"
    if str(language).lower() != "python":
        raise Refused(f"a notebook in {str(language)[:40]}, not in Python")
    return new_notebook(cells=cells, metadata={"kernelspec": KERNEL})


def tidy(cell: NotebookNode) -> NotebookNode:
    """A cell with its text and nbgrader's name of it, and nothing else."""
    source = cell.source if isinstance(cell.source, str) else "".join(map(str, cell.source))
    if cell.cell_type != "code":
        return new_markdown_cell(source)
    name = grade_id(cell) or (cell.id if isinstance(cell.get("id"), str) else "")
    return new_code_cell(source, metadata={"nbgrader": {"grade_id": name}})


def recognise(nb: NotebookNode, assignments: dict[str, Assignment], expected: str | None) -> Assignment:
    """The assignment that a notebook answers; Refused if that is none, or another one than expected."""
    names = {grade_id(cell) for cell in nb.cells}
    defines = {name for cell in nb.cells if cell.cell_type == "code" for name in defined(cell.source)}

    def score(a: Assignment) -> tuple[int, int]:
        ids = {grade_id(cell) for cell in a.cells} - {""}
        return len(names & ids), len(defines & {name for ex in a.exercises.values() for name in ex.answers})

    best = max(assignments.values(), key=score)
    if expected is not None and (score(assignments[expected])[0] or score(best) == (0, 0)):
        best = assignments[expected]
    if not score(best)[0] and not (score(best)[1] and expected in (None, best.name)):
        raise Refused("holds no exercise of any assignment")
    if expected not in (None, best.name):
        raise Refused(f"a notebook of {best.name}, handed in as {expected}")
    return best


def restore(nb: NotebookNode, assignment: Assignment) -> tuple[NotebookNode, list[str]]:
    """The notebook with the source's checks in place of its own, and a line for each that was edited or missing.

    Only the last cell of a name counts, as in nbgrader. A check that comes before its blank moves behind it; one that
    is missing comes behind its blank, or at the end. Cells that define what the exercises need come first where they
    were edited or deleted; an edited one still runs in its place.
    """
    source = {grade_id(cell): cell for cell in assignment.cells if grade_id(cell)}
    cells, notes, seen = [], [], set()
    for cell in reversed(nb.cells):
        name = grade_id(cell) if cell.cell_type == "code" else ""
        if name in source and name in seen:
            notes.append(f"{name} stands there twice; the last one counts")
            if source[name].metadata.nbgrader.grade:
                continue
            name = ""
        seen.add(name)
        known = {"nbgrader": source[name].metadata.nbgrader.copy()} if name in source else {}
        cell.metadata = nbformat.from_dict(known)
        cells.insert(0, cell)
    for ex in assignment.exercises.values():
        check = f"{ex.id}-check"
        places = {grade_id(cell): k for k, cell in enumerate(cells)}
        if check not in places or places[check] < places.get(ex.id, -1):
            notes.append(f"{check} {'stood before its blank' if check in places else 'was missing'}")
            cells = [cell for cell in cells if grade_id(cell) != check]
            places = {grade_id(cell): k for k, cell in enumerate(cells)}
            new = new_code_cell(source[check].source, metadata={"nbgrader": source[check].metadata.nbgrader.copy()})
            cells.insert(places.get(ex.id, len(cells) - 1) + 1, new)
        if ex.id not in places:
            notes.append(f"the blank {ex.id} was missing")
    held = {cell.source for cell in cells}
    answers = {name for ex in assignment.exercises.values() for name in ex.answers}
    between = [cell.source for cell in assignment.cells if not grade_id(cell) and helps(cell.source, answers)]
    nb.cells = [new_code_cell(text) for text in between if text not in held] + cells
    return nb, notes
