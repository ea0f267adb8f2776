"""What the pages' and masters' sources must keep to, read from the text itself."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "book").glob("*.md"))
MASTERS = sorted((ROOT / "solutions").glob("*.md"))
CHAPTERS = [page for page in PAGES if re.match(r"ch\d", page.name)]
COLUMN = 96  # characters of code that the book's column and a laptop's JupyterLab show without scrolling


def code(path: Path) -> list[str]:
    return [cell.source for cell in jupytext.read(path, fmt="md:myst").cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", CHAPTERS + MASTERS, ids=lambda path: path.stem)
def test_code_fits_the_column(path):
    long = [line for source in code(path) for line in source.splitlines() if len(line) > COLUMN]
    assert not long, f"{len(long)} lines of code over {COLUMN} characters, the first: {long[0]}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_number_goes_to_the_prose_through_report_alone(path):
    """Jupyter's own glue would hand over a number without an assertion."""
    assert not [source for source in code(path) if re.search(r"\bglue\(", source)]


def test_every_reported_name_is_one_number_in_the_whole_book():
    names = Counter(
        name for path in CHAPTERS for source in code(path) for name in re.findall(r'\breport\(\s*"(\w+)"', source)
    )
    assert names and not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_its_parts(path):
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    text = " | ".join(headings).lower()
    for part in ("exercises", "summary", "reading"):
        assert part in text, f"no section on {part}"
    assert re.search(r"wrong|fails|failure", text), "no section on what goes wrong"


@pytest.mark.parametrize("path", PAGES + MASTERS, ids=lambda path: path.stem)
def test_no_page_is_half_written(path):
    assert not re.search(r"\b(TODO|FIXME|XXX|TBD|lorem ipsum)\b", path.read_text("utf-8"))


def test_no_page_computes_with_what_builds_or_marks():
    """What the name of the cache leaves out is imported by no page and by no other part of the library."""
    library = [p for p in (ROOT / "course_lib").rglob("*.py") if not {"authoring", "marking"} & set(p.parts)]
    assert library and any(code(page) for page in PAGES)
    sources = {page: "\n".join(code(page)) for page in PAGES} | {path: path.read_text("utf-8") for path in library}
    for path, source in sources.items():
        found = re.findall(r"^\s*(?:from|import)\s+.*\b(?:authoring|marking)\b", source, re.MULTILINE)
        assert not found, f"{path.relative_to(ROOT)}: {found[0].strip()}"
