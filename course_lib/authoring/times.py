"""How long a chapter's code ran, measured by the build, where the page says how long it takes to read.

The paragraph that opens with **How long** gets a last sentence with the time that the execution of the page took; its
notebook, made from the same page, says it too.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

CHAPTER = re.compile(r"book/ch\d")


def spoken(seconds: float) -> str:
    """A time as one says it: "1 second", "40 seconds", "2½ minutes"."""
    if seconds < 90:
        count = max(1, round(seconds))
        return f"{count} second{'s' * (count != 1)}"
    halves = round(seconds / 30)
    return f"{halves // 2}{'½' * (halves % 2)} minutes"


def say(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Add the sentence to a chapter that was executed."""
    ran = (app.env.nb_metadata.get(docname, {}).get("exec_data") or {}).get("runtime")
    if not CHAPTER.match(docname) or not ran:
        return
    for paragraph in doctree.findall(nodes.paragraph):
        if any(isinstance(part, nodes.strong) and part.astext() == "How long" for part in paragraph[:2]):
            paragraph += nodes.Text(f" When this book was built, the code of the page ran in {spoken(ran)}.")
            return


def setup(app: Sphinx) -> dict:
    app.connect("doctree-resolved", say)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
