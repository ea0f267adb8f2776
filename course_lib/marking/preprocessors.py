"""nbgrader's own commands with the course's notebooks; what they need stands in two lines of ``nbgrader_config.py``::

    from course_lib.marking.preprocessors import configure
    configure(get_config())

``generate_assignment`` then gives the notebooks of exercises/, cell by cell, and ``autograde`` warns of nothing that is
as it should be.
"""

from __future__ import annotations

from nbformat import NotebookNode
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    ClearSolutions,
    DeduplicateIds,
    NbGraderPreprocessor,
    OverwriteCells,
    OverwriteKernelspec,
)
from traitlets.config import Config

from ..authoring.grading import checksum
from ..authoring.masters import BEGIN_HIDDEN, END_HIDDEN, replace_between, stub


class RemoveRemarks(NbGraderPreprocessor):
    """Takes out the cells that students do not get, of which nbgrader knows nothing."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        nb.cells = [cell for cell in nb.cells if "instructor" not in cell.metadata.get("tags", [])]
        return nb, resources


class ClearAnswers(ClearSolutions):
    """nbgrader's, with the line in each blank that the course's own notebooks have."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, cell_index: int) -> tuple[NotebookNode, dict]:
        self.code_stub = {"python": stub(cell.metadata.get("nbgrader", {}).get("grade_id", ""))}
        return super().preprocess_cell(cell, resources, cell_index)


class OverwriteChecks(OverwriteCells):
    """nbgrader's, but it does not report a check that lacks its hidden tests and nothing else, as each handed out does.

    Upstream compares with the source's checksum, hidden tests included, and so warns of every such check.
    """

    def report_change(self, name: str, attr: str, old: object, new: object) -> None:
        if attr != "checksum" or new != self.handed_out(name):
            super().report_change(name, attr, old, new)

    def handed_out(self, name: str) -> str:
        """The checksum of a check without its hidden tests."""
        kept = self.gradebook.find_source_cell(name, self.notebook_id, self.assignment_id)
        points = self.gradebook.find_graded_cell(name, self.notebook_id, self.assignment_id).max_score
        marks = {"grade": True, "solution": False, "locked": True, "grade_id": name, "points": points}
        return checksum(marks, replace_between(kept.source, BEGIN_HIDDEN, END_HIDDEN, None))


SANITIZE = (ClearOutput, DeduplicateIds, OverwriteKernelspec, OverwriteChecks, CheckCellMetadata)


def configure(c: Config) -> None:
    """Let nbgrader hand out and clean the course's notebooks as the course does itself."""
    usual = GenerateAssignment.preprocessors.default()
    ours = [ClearAnswers if kind is ClearSolutions else kind for kind in usual]
    c.GenerateAssignment.preprocessors = [RemoveRemarks, *ours]
    c.Autograde.sanitize_preprocessors = list(SANITIZE)
