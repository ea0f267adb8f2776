"""How nbgrader cleans a notebook before it grades it, without a warning of what is as it should be.

For nbgrader's own ``autograde``, in a course's ``nbgrader_config.py``::

    from course_lib.marking.preprocessors import SANITIZE
    c.Autograde.sanitize_preprocessors = list(SANITIZE)
"""

from __future__ import annotations

from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, DeduplicateIds, OverwriteCells, OverwriteKernelspec

from ..authoring.grading import checksum
from ..authoring.masters import BEGIN_HIDDEN, END_HIDDEN, replace_between


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
