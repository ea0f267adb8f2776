"""The built pages: alt text on every figure, nothing from another host, every claim of a finished chapter settled."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from course_lib import claims

HTML = Path(__file__).resolve().parents[1] / "_build" / "html"
PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.rglob("*.html") if "_static" not in path.parts)
CHAPTERS = [page for page in PAGES if re.match(r"book/ch\d", page)]
if not PAGES:
    pytest.skip("the book is not built (`make book`); `make test` builds it first", allow_module_level=True)


class Tags(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    return Tags((HTML / page).read_text("utf-8")).found


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_loaded_from_another_host(page):
    loads = [a.get("src") or "" for tag, a in tags(page) if tag in {"script", "img", "iframe", "source", "video"}]
    kinds = {"stylesheet", "preload", "icon", "preconnect", "modulepreload"}
    loads += [a.get("href") or "" for tag, a in tags(page) if tag == "link" and a.get("rel") in kinds]
    assert not [url for url in loads if re.match(r"(https?:)?//", url)]


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_says_what_is_to_be_seen(page):
    for tag, attributes in tags(page):
        if tag == "img" and "logo" not in (attributes.get("class") or ""):
            alt = attributes.get("alt") or ""
            assert len(alt.split()) >= 6 and not alt.startswith("../"), f"{attributes.get('src')}: alt={alt!r}"


@pytest.mark.parametrize("page", PAGES)
def test_no_markup_is_left_in_the_text(page):
    """Neither rows of tables nor formulas, emphasis, roles and directives that were taken for words."""
    article = BeautifulSoup((HTML / page).read_text("utf-8"), "html.parser").select_one("article")
    for code in article.select("pre, code, script, style, math, svg, .sig") if article else ():
        code.decompose()
    text = article.get_text() if article else ""
    found = re.findall(r"\| [^|\n]* \||\|-{3}|—\s*\||\$[^$\n]+\$|\*\*\w|\{[a-z:]+\}`|```|:::|\\[a-z]{3,}", text)
    assert not found, found[:5]


def test_every_term_of_the_glossary_is_linked_from_a_chapter():
    glossary = BeautifulSoup((HTML / "book/glossary.html").read_text("utf-8"), "html.parser")
    terms = {term["id"] for term in glossary.select("dl.glossary dt[id]")}
    pages = [(HTML / page).read_text("utf-8") for page in CHAPTERS]
    linked = {name for page in pages for name in re.findall(r'href="glossary\.html#([^"]+)"', page)}
    assert len(terms) > 50 and terms == linked, terms ^ linked


def test_works_are_cited_with_their_address():
    """A DOI or an address for all but two posts and two lectures."""
    soup = BeautifulSoup((HTML / "book/bibliography.html").read_text("utf-8"), "html.parser")
    works = soup.select("div.citation")
    without = [work.get_text(" ", strip=True) for work in works if not work.select_one("a.external")]
    assert len(works) > 60 and len(without) <= 4, without


def test_solutions_are_called_so():
    for page in PAGES:
        if page.startswith(("solutions/", "exercises/")):
            kind = page.partition("/")[0].title()
            soup = BeautifulSoup((HTML / page).read_text("utf-8"), "html.parser")
            assert soup.h1.get_text().startswith(kind) and soup.title.get_text().startswith(kind), page
    notation = BeautifulSoup((HTML / "book/notation.html").read_text("utf-8"), "html.parser")
    assert "Solutions 6" in notation.select_one(".left-prev").get_text()


def test_the_library_lists_no_field_twice():
    assert "Alias for field number" not in (HTML / "book/library.html").read_text("utf-8")


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_has_figures_and_numbers_from_code(page):
    found = tags(page)
    assert any(tag == "img" for tag, _ in found)
    assert any("pasted-text" in (a.get("class") or "") for _, a in found), "no number in the prose comes from code"


def test_chapters_are_there():
    assert CHAPTERS


def test_every_claim_of_a_finished_chapter_links_to_where_it_was_settled():
    text = (HTML / "book/claims.html").read_text("utf-8")
    for claim in claims.ledger().values():
        if claim.chapter in claims.finished():
            link = re.search(rf'href="([^"#]*)#claim-{claim.id}"', text)
            assert link, f"claim {claim.id} links nowhere"
            target = (HTML / "book" / link.group(1)).read_text("utf-8")
            assert f'id="claim-{claim.id}"' in target


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_says_how_long_its_code_ran(page):
    said = r"When this book was built, the code of the page ran in [\d½]+ (second|minute)"
    assert re.search(said, (HTML / page).read_text("utf-8"))


def test_no_student_notebook_in_the_book_shows_an_answer():
    for page in PAGES:
        if page.startswith("exercises/"):
            assert "BEGIN SOLUTION" not in (HTML / page).read_text("utf-8")
