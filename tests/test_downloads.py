"""Every page that computes can be downloaded as a notebook that JupyterLab shows and runs; no button is dead."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("ch[0-9]*.md"))
PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.glob("*/*.html") if path.parts[-2] != "_static")
if not PAGES:
    pytest.skip("the book is not built (`make book`); `make test` builds it first", allow_module_level=True)


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(HTML / f"_sources/book/{name}.ipynb", as_version=4)


def prose(nb: nbformat.NotebookNode) -> str:
    """The Markdown of a notebook, without the code that stands in it."""
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    return re.sub(r"(`+).+?\1", "`", text, flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_no_button_is_dead_and_a_page_can_be_taken_along(page):
    soup = BeautifulSoup((HTML / page).read_text("utf-8"), "html.parser")
    buttons = soup.select(".article-header-buttons a[href]")
    for button in buttons:
        assert (HTML / page).parent.joinpath(button["href"]).resolve().is_file(), button["href"]
    kinds = {button.get_text(strip=True) for button in buttons}
    if page.split("/")[0] in {"exercises", "solutions"} or Path(page).stem in CHAPTERS:
        assert kinds == {".ipynb"}
        assert soup.select_one(".btn-download-pdf-button[onclick='window.print()']")
    assert not soup.select("[data-bs-toggle=dropdown] ~ ul:not(:has(a, button))"), "a menu with nothing in it"


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_notebook_has_the_cells_of_its_page_in_their_order(name):
    nb = read(name)
    nbformat.validate(nb)
    code = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    page = [cell.source for cell in jupytext.read(ROOT / f"book/{name}.md").cells if cell.cell_type == "code"]
    assert code[-len(page) :] == page and len(code) - len(page) == any('"recorded' in source for source in page)
    assert all(not cell.outputs for cell in nb.cells if cell.cell_type == "code")
    assert nb.cells[0].source.startswith("# ")


@pytest.mark.parametrize("name", CHAPTERS)
def test_its_prose_is_plain_markdown(name):
    text = prose(read(name))
    assert not re.search(r"^>? ?:::|\{[a-z:]+\}`|^\([\w-]+\)=|<course-|<script|pending_xref", text, flags=re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    assert len(headings) == len(set(headings)) > 5
    # A formula that spans lines would take the signs of a quotation into itself.
    assert all(line.count("$$") in (0, 2) for line in text.splitlines())


@pytest.mark.parametrize("name", CHAPTERS)
def test_its_links_lead_somewhere_in_it_or_to_another_host(name):
    nb = read(name)
    text = prose(nb)
    places = re.findall(r'<a id="([^"]+)"></a>', text)
    places += [f"claim-{claim}" for cell in nb.cells for claim in re.findall(r'settle\(\s*"(\w+)"', cell.source)]
    assert len(places) == len(set(places))
    for link in re.findall(r"\]\(([^)\s]*)\)", text):
        assert link.startswith("https://") or link[1:] in places, link


def test_numbers_of_the_book_stand_in_the_prose():
    """Figures, statements and equations have the numbers that the page shows."""
    for name in CHAPTERS:
        soup = BeautifulSoup((HTML / f"book/{name}.html").read_text("utf-8"), "html.parser")
        text = prose(read(name))
        numbers = [span.get_text(strip=True) for span in soup.select(".caption-number")]
        shown = [number for number in numbers if re.search(r"\d", number)]
        assert shown and all(f"**{number}**" in text for number in shown)
        for equation in soup.select(".eqno"):
            assert rf"\tag{{{equation.contents[0].strip('()')}}}$$" in text


@pytest.mark.slow
def test_the_notebook_of_the_quickest_chapter_runs_in_an_empty_folder(tmp_path):
    nb = read("ch6_lotka_volterra")
    NotebookClient(nb, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5


def test_recorded_runs_are_found_from_an_empty_folder(tmp_path):
    """The first cell of a notebook that reads recorded runs goes to where they are."""
    nb = read("ch6_forecasts")
    first = next(cell for cell in nb.cells if cell.cell_type == "code")
    asked = nbformat.v4.new_code_cell("from course_lib import records\nprint(len(records.read_all('recorded')))")
    small = nbformat.v4.new_notebook(cells=[first, asked], metadata=nb.metadata)
    NotebookClient(small, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert int(small.cells[1].outputs[0].text) == len(list((ROOT / "book/recorded").glob("*.json")))
