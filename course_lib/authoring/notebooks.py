"""Each page that computes can be downloaded as a notebook: plain Markdown and the cells, without outputs.

It is written beside the page's source while the page is, from the page as Sphinx resolved it (see `plain`), so that
numbers, references and citations read as in the book; the theme's download button then offers it. Cells run where
``course_lib`` is installed. The recorded runs that some pages read lie in the course's repository: there a first cell
goes and looks.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from docutils import nodes
from myst_nb.core.read import create_nb_reader
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from .masters import KERNEL
from .plain import Markdown

HIDDEN = {"hide-input": "source_hidden", "hide-cell": "source_hidden", "remove-input": "source_hidden"}
ABOUT = (
    "*This notebook was made from a page of the book. Its cells run where the course's library, `course_lib`, is "
    "installed; figures and tables appear when they do. The numbers in the text are those of the book.*"
)
RECORDS = """\
# The recorded runs that are read below lie in the repository that course_lib came from.
import os
from pathlib import Path

import course_lib

if not Path("recorded").is_dir():
    os.chdir(Path(course_lib.__file__).resolve().parents[1] / "book")"""


def numbers(env: BuildEnvironment, docname: str):
    """A function that gives the number of a figure, a statement or an equation of a page."""
    found = env.toc_fignumbers.get(docname, {})

    def number(node: nodes.Element) -> str:
        kind = node.get("countertype") or ("displaymath" if isinstance(node, nodes.math_block) else "figure")
        own = [found.get(kind, {}).get(name) for name in node.get("ids", [])]
        return ".".join(map(str, next(filter(None, own), ())))

    return number


class References:
    """Where the references of a page lead from within its notebook; the works that it cites."""

    def __init__(self, env: BuildEnvironment, docname: str):
        self.docname, self.domain = docname, env.get_domain("cite")
        self.known = {citation.citation_id: citation for citation in self.domain.citations}
        self.cited: dict[str, None] = {}

    def url(self, node: nodes.reference) -> str | None:
        """A place in the notebook, or an address that has a host; None for another page of the book."""
        uri = node.get("refuri", "")
        if not node.get("internal") and uri:
            return uri
        page, _, anchor = uri.partition("#")
        if anchor in self.known and page.endswith("bibliography.html"):
            self.cited[anchor] = None
            return f"#cite-{self.known[anchor].key}"
        if "refid" in node or page in ("", f"{Path(self.docname).name}.html"):
            return f"#{node.get('refid', anchor)}"
        return None

    def markdown(self, writer: Markdown) -> str:
        """The works cited so far, as a section; "" if there are none."""
        lines = []
        for citation in sorted((self.known[name] for name in self.cited), key=lambda c: c.key.lower()):
            entry = self.domain.backend.paragraph(citation.formatted_entry)
            lines.append(f'- <a id="cite-{citation.key}"></a>{writer.inline(entry)}')
        return "\n".join(["## Works cited", "", *lines]) if lines else ""


def without_idle_anchors(nb: NotebookNode) -> None:
    """Take out the anchors that nothing in the notebook leads to."""
    texts = [cell for cell in nb.cells if cell.cell_type == "markdown"]
    used = {name for cell in texts for name in re.findall(r"\]\(#([^)]+)\)", cell.source)}
    for cell in texts:
        kept = re.sub(r'<a id="([^"]+)"></a>', lambda m: m[0] if m[1] in used else "", cell.source)
        cell.source = re.sub(r"\n{3,}", "\n\n", re.sub(r"^> *\n(?=> *\n)", "", kept, flags=re.MULTILINE)).strip()


def cells_of(node: nodes.Element, writer: Markdown, level: int = 1):
    """What stands on a page, in order: Markdown as strings, code cells as the containers that myst-nb makes of them."""
    for child in node.children:
        if isinstance(child, nodes.section) and "proof" not in child.parent.get("classes", []):
            yield writer.anchors(child)
            yield from cells_of(child, writer, level + 1)
        elif isinstance(child, nodes.container) and child.get("nb_element") == "cell_code":
            yield child
            yield from (writer.block(figure) for figure in child.findall(nodes.figure))
        else:
            yield writer.block(child, level)


def notebook(page: nodes.document, source: NotebookNode, writer: Markdown, references: References) -> NotebookNode:
    """The notebook of a page: `source` is the notebook that it was read from, whose cells go into it unchanged."""
    nb = nbformat.v4.new_notebook(metadata=KERNEL)
    text: list[str] = []
    taken = 0

    def close() -> None:
        if any(text):
            nb.cells.append(nbformat.v4.new_markdown_cell("\n\n".join(filter(None, text))))
        text.clear()

    def take(upto: int) -> None:
        nonlocal taken
        for cell in source.cells[taken:upto]:
            if cell.cell_type == "code":
                hidden = {HIDDEN[tag]: True for tag in cell.metadata.get("tags", []) if tag in HIDDEN}
                nb.cells.append(nbformat.v4.new_code_cell(cell.source, metadata={"jupyter": hidden} if hidden else {}))
        taken = max(taken, upto)

    for part in cells_of(page, writer):
        if isinstance(part, str):
            text.append(part)
        else:
            close()
            take(part["cell_index"] + 1)
    close()
    take(len(source.cells))
    text.append(references.markdown(writer))
    close()
    without_idle_anchors(nb)
    nb.cells.insert(1, nbformat.v4.new_markdown_cell(ABOUT))
    if any('"recorded' in cell.source for cell in nb.cells if cell.cell_type == "code"):
        nb.cells.insert(2, nbformat.v4.new_code_cell(RECORDS))
    for k, cell in enumerate(nb.cells):
        cell.id = f"cell-{k:03d}"
    return nb


def offer(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Write the notebook of a page that computes, and have the theme's button offer it."""
    if doctree is None or not str(context.get("sourcename", "")).endswith(".md"):
        return
    path = Path(app.env.doc2path(pagename))
    text = path.read_text("utf-8")
    reader = create_nb_reader(str(path), app.env.myst_config, app.env.mystnb_config, text)
    if reader is None:
        return
    source = reader.read(text)
    if not any(cell.cell_type == "code" for cell in source.cells):
        return
    references = References(app.env, pagename)
    writer = Markdown(numbers(app.env, pagename), references.url)
    target = Path(app.outdir) / "_sources" / f"{pagename}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook(doctree, source, writer, references), target)
    context["ipynb_source"] = f"{pagename}.ipynb"


def without_source(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Where there is a notebook, the page's own format is not offered beside it."""
    if "ipynb_source" in context:
        for group in context["header_buttons"]:
            if group.get("label") == "download-buttons":
                group["buttons"] = [b for b in group["buttons"] if b.get("label") != "download-source-button"]


def setup(app: Sphinx) -> dict:
    # Before the theme makes its buttons (501), and after.
    app.connect("html-page-context", offer, priority=490)
    app.connect("html-page-context", without_source, priority=510)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
