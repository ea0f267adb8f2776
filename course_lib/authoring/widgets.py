"""``{widget} NAME``: an interactive figure out of ``book/_static/widgets/NAME.js``, its content the fallback.

The script goes into the page itself: a module loaded by its address is refused by browsers where the book is read from
disk. It defines the custom element ``course-NAME``; where scripts are off, the element shows the directive's content
and, with ``:figure: LABEL``, the picture of a figure of the same page.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

FOLDER = Path("book/_static/widgets")
LOGGER = logging.getLogger(__name__)


class Widget(SphinxDirective):
    """Puts the element, its fallback and, once on a page, its script; only the fallback in other formats than HTML."""

    required_arguments = 1
    has_content = True
    option_spec = {"figure": directives.unchanged_required}  # noqa: RUF012 (as docutils has it)

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        self.assert_has_content()
        path = Path(self.env.srcdir) / FOLDER / f"{name}.js"
        if not path.exists():
            raise self.error(f"widget: no file {FOLDER / name}.js; write it, or mend the name.")
        self.env.note_dependency(str(path))
        fallback = nodes.container(classes=["widget"], figure=self.options.get("figure"))
        self.state.nested_parse(self.content, self.content_offset, fallback)
        script = f'<script type="module">\n{path.read_text("utf-8")}</script>'
        used = self.env.temp_data.setdefault("course_widgets", set())
        after = f"</course-{name}>" + ("" if name in used else script)
        used.add(name)
        html = {"format": "html"}
        return [nodes.raw("", f"<course-{name}>", **html), fallback, nodes.raw("", after, **html)]


def show_figures(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put into each fallback the picture of the figure that it names."""
    if app.builder.format != "html":
        return
    for fallback in doctree.findall(nodes.container):
        if not (label := fallback.get("figure")):
            continue
        images = [image for figure in doctree.findall(nodes.figure) if label in figure["ids"]
                  for image in figure.findall(nodes.image)]
        if not images:
            LOGGER.warning("widget: no figure %r with a picture on this page", label, location=(docname, fallback.line))
        fallback += [image.deepcopy() for image in images]


def setup(app: Sphinx) -> dict:
    app.add_directive("widget", Widget)
    app.connect("doctree-resolved", show_figures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
