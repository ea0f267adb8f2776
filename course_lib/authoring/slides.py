"""Slides of a chapter from its own cells: ``python -m course_lib.authoring.slides [NAME ...]`` (``make slides``).

They are made of what the last `make book` made of the page: its notebook, in which references have their numbers, and
the outputs of its cells. A heading begins a slide; it shows the first paragraph below it, the displayed equations, the
numbered statements and the figures. All other prose becomes the speaker's notes (press s), and code stays away, but for
the short cells that a reader of the page sees. reveal.js lies beside the slides and formulas are MathML: they need no
network.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
from jupyter_cache import get_cache
from nbformat import NotebookNode

from .mathematics import mathml
from .notebooks import ABOUT, RECORDS
from .sphinx_ext import cache_folder

HERE = Path(__file__).parent
LONGEST = 18  # lines of a code cell that fits a slide
FORMULA = re.compile(r"(`+).+?\1|\$\$(.+?)(?: \\tag\{([^}]*)\})?\$\$|(?<!\\)\$([^$]+)\$", flags=re.DOTALL)
STATEMENTS = tuple(f"> **{name} " for name in ("Theorem", "Definition", "Lemma", "Proposition", "Corollary"))


class NotBuilt(RuntimeError):
    """The book has not been built, or a page has changed since."""


def formulas(text: str) -> str:
    """Markdown with its formulas as MathML."""

    def formula(match: re.Match) -> str:
        _, block, number, inline = match.groups()
        if block:
            latex = re.sub(r"\\(?:begin|end)\{split\}", "", block)
            tag = f"<span>({number})</span>" if number else ""
            return f'<div class="formula">{mathml(latex, True)}{tag}</div>'
        return mathml(inline, False) if inline else match[0]

    return FORMULA.sub(formula, text)


def plain(text: str) -> str:
    """Markdown without the page's anchors and the links to them: on slides an address's # says which slide is shown."""
    text = re.sub(r'<a id="[^"]*"></a>', "", text)
    return re.sub(r"\[((?:[^\[\]\\]|\\.)*)\]\(#[^)]*\)", r"\1", text)


def shown(paragraphs: list[str], heading: bool) -> set[int]:
    """Which paragraphs are on the slide: the heading and the first, and formulas with the sentence before them."""
    formulas = [k for k, p in enumerate(paragraphs) if p.lstrip().startswith("$$")]
    return {*range(2 * heading), *formulas, *(k - 1 for k in formulas if k and paragraphs[k - 1][0] != ">")}


def cell(text: str, kind: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(formulas(text), metadata={"slideshow": {"slide_type": kind}})


def prose(source: str) -> list[NotebookNode]:
    """Slides and notes of a text: a slide for each heading and for each numbered statement."""
    slides = []
    for part in re.split(r"^(?=#{1,3} )", plain(source), flags=re.MULTILINE):
        paragraphs = [p for p in re.split(r"\n\s*\n", part.strip()) if p.strip()]
        heading = bool(paragraphs) and paragraphs[0].startswith("#")
        if paragraphs[:1] == ["## Works cited"]:
            continue
        statements = [p for p in paragraphs if p.startswith(STATEMENTS)]
        paragraphs = [p for p in paragraphs if p not in statements]
        on = shown(paragraphs, heading)
        slide, notes = ("\n\n".join(p for k, p in enumerate(paragraphs) if (k in on) == here) for here in (True, False))
        if slide:
            slides.append(cell(slide, "slide" if heading and not part.startswith("### ") else "subslide"))
        if notes:
            slides.append(cell(notes, "notes"))
        slides += [cell(statement, "subslide") for statement in statements]
    return slides


def code(source: NotebookNode) -> list[NotebookNode]:
    """The slide of a code cell: its figure, and its code if it is short and a reader of the page sees it; or none."""
    outputs = [o for o in source.outputs if "scrapbook" not in o.get("metadata", {}) and "data" in o]
    figure = [o for o in outputs if any(kind.startswith("image/") for kind in o["data"])]
    tags = source.metadata.get("tags", [])
    short = not {"hide-input", "remove-input", "hide-cell"} & set(tags) and source.source.count("\n") < LONGEST
    if not figure and not short:
        return []
    about = {"slideshow": {"slide_type": "subslide"}, "tags": [] if short else ["no-code"]}
    return [nbformat.v4.new_code_cell(source.source, outputs=figure or source.outputs, metadata=about)]


def deck(page: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """The notebook of slides, out of a page's notebook and of its executed cells, which are the same in number."""
    cells = [c for c in page.cells if c.source not in (ABOUT, RECORDS)]
    ran = [c for c in executed.cells if c.cell_type == "code"]
    if [c.source for c in cells if c.cell_type == "code"] != [c.source for c in ran]:
        raise NotBuilt("the page has changed since the book was built: run `make book` first")
    rest = iter(ran)
    slides = [new for c in cells for new in (prose(c.source) if c.cell_type == "markdown" else code(next(rest)))]
    return nbformat.v4.new_notebook(cells=slides, metadata=page.metadata)


def built(name: str) -> tuple[NotebookNode, NotebookNode]:
    """The page's notebook, as the last build of the book left it, and its executed cells."""
    path, folder = Path("_build/html/_sources/book") / f"{name}.ipynb", cache_folder(Path("."), Path("_build"))
    try:
        source = jupytext.read(Path("book") / f"{name}.md")
        return nbformat.read(path, as_version=4), get_cache(folder).merge_match_into_notebook(source)[1]
    except (FileNotFoundError, KeyError):
        raise NotBuilt("the book is not built, or has changed since: run `make book` first") from None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course_lib.authoring.slides", description=__doc__)
    parser.add_argument("names", nargs="*", help="chapters (default: all), for example ch1_euler")
    options = parser.parse_args(argv)
    names = options.names or sorted(page.stem for page in Path("book").glob("ch[0-9]*.md"))
    if missing := [name for name in names if not Path("book", f"{name}.md").exists()]:
        parser.error(f"no chapter {missing[0]}")
    folder = Path("_build/slides")
    shutil.copytree(HERE / "reveal", folder / "reveal", dirs_exist_ok=True)
    shutil.copy("book/_static/fonts/stix-two-math.woff2", folder / "reveal")
    for name in names:
        path = folder / f"{name}.ipynb"
        try:
            nbformat.write(deck(*built(name)), path)
        except NotBuilt as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        command = [sys.executable, "-m", "nbconvert", "--to", "slides", str(path), "--SlidesExporter.theme=light"]
        command += [f"--TemplateExporter.extra_template_basedirs={HERE / 'templates'}", "--template=slides"]
        command += ["--SlidesExporter.reveal_url_prefix=reveal", "--SlidesExporter.reveal_theme=course"]
        command += ["--TagRemovePreprocessor.enabled=True", "--TagRemovePreprocessor.remove_input_tags=no-code"]
        subprocess.run(command, check=True, capture_output=True)
        print(f"{name}: {(folder / f'{name}.slides.html').resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
