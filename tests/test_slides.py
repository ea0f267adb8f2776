"""Slides come from the page's own cells: headings, first paragraphs, statements and figures; the rest is notes."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from course_lib.authoring import slides
from course_lib.authoring.notebooks import ABOUT

TITLE = "# A chapter\n\nWhat it is about."
PAGE = r"""<a id="sec-x"></a>
## A heading

The first paragraph, see [Theorem 1.2](#thm-x) and [the text](https://example.org/a#b), with `$code` and $h^2$.

A second one, with $x_0 = 1$ in it.

A third one leads to

$$\dot y = 2x \tag{1.3}$$

> <a id="thm-x"></a>**Theorem 1.2** **(Bound)**
>
> It holds.
>
> $$ \begin{split} a &= b \\ c &= d \end{split} $$

> *Proof.* It is clear.

### A smaller one

Go on."""


def code(source: str, outputs: list, *tags: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)})


@pytest.fixture
def pages():
    """The notebook of a page and its executed cells."""
    glued, text = {"scrapbook": {"name": "x"}}, {"text/plain": "1.26"}
    picture = {"image/png": "iVBORw0KGgo=", "text/plain": "F"}
    alt = {"image/png": {"alt": "A line falls."}}
    ran = [
        code("report('x', 1.26)", [nbformat.v4.new_output("display_data", text, metadata=glued)], "hide-input"),
        code("draw()", [nbformat.v4.new_output("display_data", picture, metadata=alt)], "hide-input"),
        code("x = euler(f, 0, x, h)", []),
        code("\n".join(["y = 1"] * 40), []),
    ]
    new = nbformat.v4.new_markdown_cell
    cells = [new(TITLE), new(ABOUT), new(PAGE), *(code(c.source, []) for c in ran), new("## Works cited\n\n- One.")]
    return nbformat.v4.new_notebook(cells=cells), nbformat.v4.new_notebook(cells=ran)


def test_a_section_becomes_a_slide_and_its_prose_notes(pages):
    cells = [c for c in slides.deck(*pages).cells if c.cell_type == "markdown"]
    title, shown, notes, statement, smaller = cells
    assert [c.metadata.slideshow.slide_type for c in cells] == ["slide", "slide", "notes", "subslide", "subslide"]
    assert title.source == TITLE
    assert "see Theorem 1.2 and [the text](https://example.org/a#b)" in shown.source
    assert "**Theorem 1.2** **(Bound)**" in statement.source and "It holds." in statement.source
    assert smaller.source == "### A smaller one\n\nGo on."
    assert "A third one leads to\n\n<div" in shown.source
    assert "A second one" in notes.source and "*Proof.*" in notes.source
    assert "A second one" not in shown.source and "*Proof.*" not in shown.source
    assert not any(mark in shown.source + notes.source for mark in ("<a id", "](#", ABOUT))


def test_formulas_are_mathml_with_their_numbers(pages):
    shown = "\n".join(c.source for c in slides.deck(*pages).cells if c.cell_type == "markdown")
    assert shown.count("<math") == 4 and shown.count('<div class="formula">') == 2
    assert "<span>(1.3)</span>" in shown and "`$code`" in shown
    assert not re.search(r"\$\$|\\tag|split", shown)


def test_figures_stay_without_their_code_and_numbers_do_not_show(pages):
    figure, short = [c for c in slides.deck(*pages).cells if c.cell_type == "code"]
    assert figure.metadata.tags == ["no-code"] and "image/png" in figure.outputs[0]["data"]
    assert short.source.startswith("x = euler") and short.metadata.tags == []


def test_a_page_that_has_changed_since_the_build_is_refused_in_one_line(pages, monkeypatch, capsys, tmp_path):
    page, executed = pages
    executed.cells[1].source = "draw(2)"
    with pytest.raises(slides.NotBuilt, match="make book"):
        slides.deck(page, executed)
    static = tmp_path / "book" / "_static" / "fonts"
    static.mkdir(parents=True)
    (static / "stix-two-math.woff2").write_bytes(b"")
    (tmp_path / "book" / "ch1_x.md").write_text("# X\n")
    monkeypatch.chdir(tmp_path)
    assert slides.main(["ch1_x"]) == 1
    said = capsys.readouterr().err
    assert "ch1_x: the book is not built" in said and "make book" in said and said.count("\n") == 1


def test_what_the_slides_load_lies_beside_them(pages, monkeypatch, tmp_path):
    pytest.importorskip("nbconvert", reason="slides need the extra `teach`")
    root = Path(__file__).resolve().parents[1]
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "_static").symlink_to(root / "book" / "_static")
    (tmp_path / "book" / "ch1_x.md").write_text("# X\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slides, "built", lambda name: pages)
    assert slides.main(["ch1_x"]) == 0
    folder = tmp_path / "_build" / "slides"
    text = (folder / "ch1_x.slides.html").read_text("utf-8")
    loaded = re.findall(r"<(?:script|link|img)[^>]*?(?:src|href)=\"(?!data:)([^\"]+)\"", text)
    assert len(loaded) == 4 and all((folder / name).is_file() for name in loaded), loaded
    assert "MathJax" not in text and "<math" in text and 'alt="A line falls."' in text
    styles = "".join(p.read_text("utf-8") for p in (folder / "reveal").rglob("*.css"))
    fonts = re.findall(r'url\("?((?!data:)[^")]+)"?\)', styles)
    assert fonts and all((folder / "reveal/dist/theme" / name).is_file() for name in fonts), fonts
    assert "@import" not in styles
