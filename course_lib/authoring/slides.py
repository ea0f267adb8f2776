"""Slides of a chapter from its own cells: ``python -m course_lib.authoring.slides [NAME ...]`` (``make slides``).

A heading begins a slide; it shows the first paragraph below it, the displayed equations, the numbered statements and
the figures. All other prose becomes the speaker's notes (press s), and code stays away, but for the short cells that a
reader of the page sees. Outputs are those of the last `make book`; a page that it has not run is executed here.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
from jupyter_cache import get_cache
from nbclient import NotebookClient
from nbformat import NotebookNode

from .sphinx_ext import cache_folder

LONGEST = 18  # lines of a code cell that fits a slide
ROLE = re.compile(r"\{(?:term|ref|numref|eq|doc|prf:ref|cite[:\w]*)\}`([^`<]*?)(?:\s*<[^`]*>)?`")
GLUE = re.compile(r"\{glue:(?:text|md)\}`([^`:]+)(?::([^`]*))?`")
FENCE = re.compile(r"^(`{3,}|:{3,})\{([\w:.-]+)\}([^\n]*)\n(.*?)^\1[ \t]*$", flags=re.DOTALL | re.MULTILINE)
SHOWN = ("prf:", "math", "admonition", "important")


def values(nb: NotebookNode) -> dict[str, str]:
    """The numbers that the executed cells handed to the text."""
    found = {}
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            if name:
                found[name] = str(output.get("data", {}).get("text/plain", "")).strip("'")
    return found


def plain(text: str, numbers: dict[str, str]) -> str:
    """Markdown that nbconvert knows, out of MyST: roles become their text, statements get their name in bold."""

    def number(match: re.Match) -> str:
        value, form = numbers.get(match[1], "…"), match[2]
        try:
            return format(float(value), form) if form else value
        except ValueError:
            return value

    def block(match: re.Match) -> str:
        kind, title = match[2], match[3].strip()
        body = re.sub(r"^:[\w-]+:.*\n", "", match[4], flags=re.MULTILINE)
        body = re.sub(r"\A---\n.*?\n---\n", "", body, flags=re.DOTALL)
        if kind == "math":
            return f"$$\n{body.strip()}\n$$"
        name = kind.removeprefix("prf:").capitalize() if kind.startswith("prf:") else ""
        head = " ".join(part for part in (name, f"({title})" if name and title else title) if part)
        return f"**{head}.** {body.strip()}" if kind.startswith(SHOWN) else ""

    text = re.sub(r"^\([\w-]+\)=\n", "", text, flags=re.MULTILINE)
    text = FENCE.sub(block, GLUE.sub(number, text))
    text = re.sub(r"^(\$\$)\s*\([\w-]+\)\s*$", r"\1", text, flags=re.MULTILINE)
    return ROLE.sub(r"\1", text)


def kept(paragraph: str) -> bool:
    """Whether a paragraph is on the slide although it is not the first."""
    return paragraph.lstrip().startswith(("$$", "**Theorem", "**Definition", "**Lemma", "**Proposition", "**Corollary"))


def cell(text: str, kind: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}})


def deck(nb: NotebookNode) -> NotebookNode:
    """The notebook of slides of an executed page."""
    numbers, slides = values(nb), []
    for source in nb.cells:
        if source.cell_type == "markdown":
            for part in re.split(r"^(?=#{1,3} )", plain(source.source, numbers), flags=re.MULTILINE):
                paragraphs = [p for p in re.split(r"\n\s*\n", part.strip()) if p.strip()]
                heading = bool(paragraphs) and paragraphs[0].startswith("#")
                shown = paragraphs[: 2 * heading] + [p for p in paragraphs[2 * heading :] if kept(p)]
                notes = [p for p in paragraphs[2 * heading :] if not kept(p)]
                if shown:
                    kind = "slide" if heading and not part.startswith("### ") else "subslide"
                    slides.append(cell("\n\n".join(shown), kind))
                if notes:
                    slides.append(cell("\n\n".join(notes), "notes"))
            continue
        outputs = [o for o in source.outputs if "scrapbook" not in o.get("metadata", {}) and "data" in o]
        figure = [o for o in outputs if any(kind.startswith("image/") for kind in o["data"])]
        tags = source.metadata.get("tags", [])
        short = not {"hide-input", "remove-input", "hide-cell"} & set(tags) and source.source.count("\n") < LONGEST
        if figure or short:
            new = nbformat.v4.new_code_cell(source.source, outputs=figure or source.outputs)
            about = {"slideshow": {"slide_type": "subslide"}, "tags": [] if short else ["no-code"]}
            new.metadata = nbformat.from_dict(about)
            slides.append(new)
    return nbformat.v4.new_notebook(cells=slides, metadata=nb.metadata)


def executed(page: Path) -> NotebookNode:
    """The page with its outputs: those of the last `make book`, if nothing has changed since; else it runs."""
    nb = jupytext.read(page)
    folder = cache_folder(Path("."), Path("_build"))
    if folder.exists():
        with contextlib.suppress(KeyError):
            return get_cache(folder).merge_match_into_notebook(nb)[1]
    print(f"{page.stem}: executing ...", flush=True)
    NotebookClient(nb, timeout=600, kernel_name="python3", resources={"metadata": {"path": "book"}}).execute()
    return nb


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course_lib.authoring.slides", description=__doc__)
    parser.add_argument("names", nargs="*", help="chapters (default: all), for example ch1_euler")
    parser.add_argument("--reveal", help="address or folder of reveal.js (default: nbconvert's, from the network)")
    options = parser.parse_args(argv)
    pages = [Path("book") / f"{name}.md" for name in options.names] or sorted(Path("book").glob("ch[0-9]*.md"))
    if missing := [str(page) for page in pages if not page.exists()]:
        parser.error(f"no chapter {missing[0]}")
    folder = Path("_build/slides")
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        nb = executed(page)
        path = folder / f"{page.stem}.ipynb"
        nbformat.write(deck(nb), path)
        command = [sys.executable, "-m", "nbconvert", "--to", "slides", str(path), "--SlidesExporter.theme=simple"]
        command += ["--TagRemovePreprocessor.enabled=True", "--TagRemovePreprocessor.remove_input_tags=no-code"]
        command += [f"--SlidesExporter.reveal_url_prefix={options.reveal}"] if options.reveal else []
        subprocess.run(command, check=True, capture_output=True)
        print(f"{page.stem}: {(folder / f'{page.stem}.slides.html').resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
