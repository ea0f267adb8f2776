"""Two directives of the instructors' page, filled from the masters and the pages: nothing in them is typed twice.

``{lesson-plan}`` is a table of the chapters: how long each takes to read, to run and to work.
``{common-mistakes} NAME`` lists, exercise by exercise, the seeded wrong answers of a master as its checks name them,
and the instructor's remarks.
"""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import masters
from .paper import contents
from .sphinx_ext import table

TIME = re.compile(r"\*\*(?:How long|It takes)\*\*:? (.*?)(?:\.(?: |$)|;)", flags=re.DOTALL | re.MULTILINE)


def told(says: str) -> str:
    """A regular expression for a check's message, as quotations with gaps, one for each thing it may say."""
    return " or ".join(f"“{quotation(part)}”" for part in re.split(r"(?<!\\)\|", says))


def quotation(says: str) -> str:
    text = re.sub(r"\.[*+]\??", " … ", says)
    return re.sub(r"\s+", " ", re.sub(r"\\(.)", r"\1", text)).strip(" ^$")


def mistakes(master: masters.Master) -> list[str]:
    """Markdown: each exercise with its seeded wrong answers and the remarks that follow it, up to the next one."""
    lines: list[str] = []
    starts = sorted((ex.blank, ex) for ex in master.exercises.values())
    for k, (start, ex) in enumerate(starts):
        end = starts[k + 1][0] if k + 1 < len(starts) else len(master.cells)
        lines += [f"**{ex.id}**, {ex.minutes} minutes, {ex.points} mark{'s' * (ex.points != 1)}. The check tells:", ""]
        lines += [f"- {told(says)}" for says in dict.fromkeys(says for _, says in ex.wrong)] + [""]
        for cell in master.cells[start:end]:
            if cell.cell_type != "markdown" or "instructor" not in cell.metadata.get("tags", []):
                continue
            lines += [*re.sub(r"^\*\*Instructor\.?\*\*\s*", "*What to say.* ", cell.source).splitlines(), ""]
    return lines


class CommonMistakes(SphinxDirective):
    """``{common-mistakes} NAME``: what goes wrong in the exercises of ``solutions/NAME.md``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "solutions" / f"{self.arguments[0]}.md"
        self.env.note_dependency(str(path))
        box = nodes.container(classes=["common-mistakes"])
        self.state.nested_parse(StringList(mistakes(masters.read(path)), str(path)), 0, box)
        return [box]


class LessonPlan(SphinxDirective):
    """``{lesson-plan}``: a row a chapter of this edition."""

    def run(self) -> list[nodes.Node]:
        pages = getattr(self.env, "course_plans", set())
        self.env.course_plans = pages | {self.env.docname}
        return [nodes.container(classes=["lesson-plan"], lesson_plan=True)]


def to_refresh(app: Sphinx, env) -> list[str]:
    """The plan is written anew in each build: its times come from the other pages."""
    return sorted(getattr(env, "course_plans", set()) & env.found_docs)


def fill_plan(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace the placeholder by the table."""
    for place in [node for node in doctree.findall(nodes.container) if node.get("lesson_plan")]:
        root = Path(app.srcdir)
        rows = []
        pages = [page for _, part in contents(root) for page, _ in part]
        for page in [d for d in pages if re.fullmatch(r"book/ch\d+_\w+", d) and d in app.env.found_docs]:
            master = root / "solutions" / f"{Path(page).name}.md"
            exercises = masters.read(master).exercises.values() if master.exists() else ()
            link = nodes.reference("", app.env.titles[page].astext(), internal=True)
            link["refuri"] = app.builder.get_relative_uri(docname, page)
            said = TIME.search((root / f"{page}.md").read_text("utf-8"))
            ran = (app.env.nb_metadata.get(page, {}).get("exec_data") or {}).get("runtime")
            work = f"{sum(e.minutes for e in exercises)} minutes, {sum(e.points for e in exercises)} marks"
            rows.append([
                link, nodes.Text(" ".join(said[1].split()) if said else "–"),
                nodes.Text(f"{ran:.0f} s" if ran else "–"), nodes.Text(work if exercises else "–"),
            ])  # fmt: skip
        head = ("Chapter", "What the page says", "Its code ran in", "Exercises")
        place.replace_self(table(head, rows))


def setup(app: Sphinx) -> dict:
    app.add_directive("common-mistakes", CommonMistakes)
    app.add_directive("lesson-plan", LessonPlan)
    app.connect("env-updated", to_refresh)
    app.connect("doctree-resolved", fill_plan)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
