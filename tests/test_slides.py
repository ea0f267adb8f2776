"""Slides come from the page's own cells: headings, first paragraphs, statements and figures; the rest is notes."""

from __future__ import annotations

import nbformat
import pytest

from course_lib.authoring import slides

PAGE = """(sec-x)=
## A heading

The first paragraph, with {term}`a step <step>` and {glue:text}`x:.1f` of it, see {numref}`fig`.

A second one.

$$
y = 2x
$$ (eq-x)

```{prf:theorem} Bound
:label: thm-x
It holds.
```

```{figure} a.png
```
"""


@pytest.fixture
def deck():
    number = nbformat.v4.new_code_cell("report('x', 1.26)", metadata={"tags": ["hide-input"]})
    glued = {"scrapbook": {"name": "x"}}
    number.outputs = [nbformat.v4.new_output("display_data", {"text/plain": "1.26"}, metadata=glued)]
    figure = nbformat.v4.new_code_cell("draw()", metadata={"tags": ["hide-input"]})
    figure.outputs = [nbformat.v4.new_output("display_data", {"image/png": "aGk=", "text/plain": "F"})]
    code = nbformat.v4.new_code_cell("x = euler(f, 0, x, h)")
    cells = [nbformat.v4.new_markdown_cell(PAGE), number, figure, code]
    return slides.deck(nbformat.v4.new_notebook(cells=cells)).cells


def test_a_section_becomes_a_slide_and_its_prose_notes(deck):
    shown, notes = deck[0], deck[1]
    assert shown.metadata.slideshow.slide_type == "slide" and notes.metadata.slideshow.slide_type == "notes"
    assert "with a step and 1.3 of it, see fig." in shown.source
    assert "y = 2x\n$$" in shown.source and "**Theorem (Bound).** It holds." in shown.source
    assert "A second one." in notes.source and "A second one." not in shown.source
    assert not any(mark in shown.source + notes.source for mark in ("{", "eq-x", ":label:", "(sec-x)"))


def test_figures_stay_without_their_code_and_numbers_do_not_show(deck):
    figure, code = deck[2:]
    assert figure.metadata.tags == ["no-code"] and "image/png" in figure.outputs[0]["data"]
    assert code.source.startswith("x = euler") and code.metadata.tags == []
