"""The book as one PDF: every page in order, every link within it, nothing that only a screen can show."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from course_lib.authoring import paper, pdf

ROOT = Path(__file__).resolve().parents[1]
PAGE = """<html><body><article class="bd-article"><section id="{id}">
<h1>{title}<a class="headerlink" href="#{id}">#</a></h1>
<p id="note">A note on {title}, with <math><mi>x</mi></math>.</p>{more}</section></article></body></html>"""
FIRST = """<p>See <a href="sub/two.html#note">the other note</a>, <a href="#note">this one</a> and
<a href="https://example.org/">a page elsewhere</a>.</p>
<details class="hide"><summary>Show code</summary><p>Folded code.</p></details>
<details><summary>Hint</summary><p>An unfolded hint.</p></details>
<a href="_images/dot.png"><img src="_images/dot.png" alt="A dot"/></a><script>document.title = "no"</script>"""
TOC = """format: jb-book
root: one
parts:
  - caption: A part
    chapters:
      - file: sub/two
        title: "2. The second page of this book, whose long title takes more than one line on paper"
"""


@pytest.fixture
def book(tmp_path) -> Path:
    """A built book of two pages, with names that stand on both."""
    html = tmp_path / "_build/html"
    for folder in ("sub", "_images", "_static"):
        (html / folder).mkdir(parents=True)
    (html / "index.html").touch()
    (html / "one.html").write_text(PAGE.format(id="start", title="First", more=FIRST), encoding="utf-8")
    second = '<p>Back to <a href="../one.html">the first page</a>.</p>'
    (html / "sub/two.html").write_text(PAGE.format(id="start", title="Second", more=second), encoding="utf-8")
    shutil.copy(ROOT / "book/_static/print.css", html / "_static")
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    return tmp_path


def test_links_between_pages_become_links_within_the_book(book):
    soup = BeautifulSoup(paper.book(book), "html.parser")
    names = [e["id"] for e in soup.find_all(id=True)]
    assert len(names) == len(set(names)) and {"one", "sub-two", "one--note", "sub-two--note"} <= set(names)
    links = [a["href"] for a in soup.select("main a")]
    assert links == ["#sub-two--note", "#one--note", "https://example.org/", "#one"]
    assert soup.select_one("img")["src"] == "../html/_images/dot.png"
    assert [h.get_text() for h in soup.select("h1")][1].startswith("2. The second page")
    assert not soup.select("script, details.hide, .headerlink") and soup.select_one("details")["open"] == ""


@pytest.mark.parametrize(
    ("link", "said"), [("sub/two.html#nowhere", "sub-two--nowhere"), ("three.html", "three.html, which is no page")]
)
def test_a_link_that_would_be_dead_is_told(book, link, said):
    (book / "_build/html/one.html").write_text(
        PAGE.format(id="start", title="First", more=f'<a href="{link}">there</a>'), encoding="utf-8"
    )
    with pytest.raises(ValueError, match=said):
        paper.book(book)


def test_the_pdf_has_outline_links_and_text(book, monkeypatch, capsys):
    if pdf.chromium() is None:
        pytest.skip("no PDF is printed: install Chromium, or name one: CHROMIUM=/path/to/chromium")
    monkeypatch.chdir(book)
    assert pdf.main([]) == 0
    assert "book.pdf" in capsys.readouterr().out
    reader = PdfReader(book / "_build/pdf/book.pdf")
    titles = [entry.title for entry in reader.outline if not isinstance(entry, list)]
    assert titles == ["First", "2. The second page of this book, whose long title takes more than one line on paper"]
    places = reader.named_destinations
    annotations = [a.get_object() for page in reader.pages for a in page.get("/Annots", [])]
    inner = [a["/Dest"] for a in annotations if "/Dest" in a]
    outer = [a["/A"]["/URI"] for a in annotations if "/A" in a]
    assert len(inner) == 4 and all(place in places for place in inner) and outer == ["https://example.org/"]
    pages = [page.extract_text() for page in reader.pages]
    number = reader.get_destination_page_number(places["/sub-two--note"])
    assert "A note on Second" in pages[number] and "A note on First" not in pages[number]
    assert "An unfolded hint." in " ".join(pages) and "Folded code." not in " ".join(pages)
    assert number > 1 and str(number + 1) in pages[number].split(), "the page has its number"


def test_without_chromium_one_line_says_so(book, monkeypatch, capsys):
    monkeypatch.chdir(book)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(SystemExit) as ended:
        pdf.main([])
    said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1 and len(said) == 1 and said[0].startswith("Chromium is missing: ")


def test_without_a_built_book_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        pdf.main([])
    assert capsys.readouterr().err == "the book is not built here: make book\n"


@pytest.mark.skipif(not (ROOT / "_build/html/index.html").exists(), reason="the book is not built (`make book`)")
def test_the_whole_book_fits_together():
    """Every page of the table of contents is in it, and no link in it is dead (`paper.book` raises otherwise)."""
    if not (ROOT / "_build/html/index.html").exists():
        pytest.skip("the book is not built (`make book`); `make test` builds it first")
    soup = BeautifulSoup(paper.book(ROOT), "html.parser")
    pages = [page for _, part in paper.contents(ROOT) for page, _ in part]
    assert [article["id"] for article in soup.select("article")] == [paper.name(page) for page in pages]
    assert len(soup.select("main a[href^='#']")) > 400 and len(soup.select("math")) > 1000
