"""nbgrader's metadata of a cell (schema 3), by which its tools and our marking know the cell."""

from __future__ import annotations

import hashlib

from nbformat import NotebookNode


def checksum(marks: dict, source: str) -> str:
    """nbgrader's checksum of a code cell, from its metadata and its source (``nbgrader.utils.compute_checksum``)."""
    parts = [source, "code", marks["grade"], marks["solution"], marks["locked"], marks["grade_id"]]
    parts += [float(marks["points"])] if marks["grade"] else []
    return hashlib.md5("".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def metadata(cell: NotebookNode, source: str, *, student: bool) -> dict:
    """The metadata that nbgrader wants on a blank or a check with this source; nothing for any other cell.

    The student can delete neither, and cannot edit the check; both are put back from the source before marking.
    """
    common = {"schema_version": 3, "task": False, "cell_type": "code"}
    if "exercise" in cell.metadata:
        marks = common | {"grade_id": cell.metadata["exercise"], "grade": False, "solution": True, "locked": False}
        locks = {"deletable": False}
    elif "check" in cell.metadata:
        name, points = f"{cell.metadata['check']}-check", int(cell.metadata["points"])
        marks = common | {"grade_id": name, "grade": True, "solution": False, "locked": True, "points": points}
        locks = {"deletable": False, "editable": False}
    else:
        return {}
    marks["checksum"] = checksum(marks, source)
    return {"nbgrader": marks} | (locks if student else {})
