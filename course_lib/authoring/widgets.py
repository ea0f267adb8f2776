"""``{widget} NAME``: an interactive figure out of ``book/_static/widgets/NAME.js``, its content the fallback.

The script goes into the page itself: a module loaded by its address is refused by browsers where the book is read from
disk. It defines the custom element ``course-NAME``; where scripts are off, the element shows the directive's content.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FOLDER = Path("book/_static/widgets")


class Widget(SphinxDirective):
    """Puts the element, its fallback and, once on a page, its script; only the fallback in other formats than HTML."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        self.assert_has_content()
        path = Path(self.env.srcdir) / FOLDER / f"{name}.js"
        if not path.exists():
            raise self.error(f"widget: no file {FOLDER / name}.js; write it, or mend the name.")
        self.env.note_dependency(str(path))
        fallback = nodes.container(classes=["widget"])
        self.state.nested_parse(self.content, self.content_offset, fallback)
        script = f'<script type="module">\n{path.read_text("utf-8")}</script>'
        used = self.env.temp_data.setdefault("course_widgets", set())
        after = f"</course-{name}>" + ("" if name in used else script)
        used.add(name)
        html = {"format": "html"}
        return [nodes.raw("", f"<course-{name}>", **html), fallback, nodes.raw("", after, **html)]


def setup(app: Sphinx) -> dict:
    app.add_directive("widget", Widget)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
