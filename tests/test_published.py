"""What the setting `course_published` turns on, and that nothing of it is there without it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import nbformat
import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.errors import ConfigError
from test_strict_book import Book, page

from course_lib.authoring import published
from course_lib.authoring.heads import LONGEST, first_words

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGES = sorted(path.relative_to(HTML).as_posix() for path in HTML.glob("*/*.html") if "_static" not in path.parts)
SITE = "https://course.example/book"
SETTING = f"{{site: {SITE}/, repository: https://github.com/someone/course, hub: https://hub.example}}"
PROSE = "A first paragraph that says in a few words what the page is about & why."


def head(html: str) -> tuple[BeautifulSoup, dict[str, str]]:
    soup = BeautifulSoup(html, "html.parser")
    return soup, {m.get("property") or m.get("name"): m["content"] for m in soup.select("head meta[content]")}


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Book:
    """A book of one page, published."""
    book = Book(tmp_path_factory.mktemp("published"))
    config = book.folder / "_config.yml"
    before = config.read_text("utf-8")
    assert "course_published: {}" in before
    config.write_text(before.replace("course_published: {}", f"course_published: {SETTING}"), encoding="utf-8")
    shutil.copytree(ROOT / "binder", book.folder / "binder")
    shutil.copy(ROOT / "constraints.txt", book.folder)
    (book.folder / "book/recorded").mkdir()
    (book.folder / "book/recorded/run.json").write_text("{}")
    result = book.build(page(prose=PROSE))
    assert result.returncode == 0, result.stdout + result.stderr
    return book


def test_the_buttons_open_the_notebook_of_the_built_book(book):
    soup, _ = head(book.html())
    links = {a.get_text(strip=True): a["href"] for a in soup.select(".dropdown-launch-buttons a")}
    assert set(links) == {"Colab", "Binder", "JupyterHub"}
    notebook = "_sources/index.ipynb"
    assert links["Colab"] == f"https://colab.research.google.com/github/someone/course/blob/gh-pages/{notebook}"
    assert links["Binder"] == f"https://mybinder.org/v2/gh/someone/course/gh-pages?urlpath=lab/tree/{notebook}"
    asked = parse_qs(urlsplit(links["JupyterHub"]).query)
    assert links["JupyterHub"].startswith("https://hub.example/hub/user-redirect/git-pull?")
    assert asked["repo"] == ["https://github.com/someone/course"] and asked["branch"] == ["gh-pages"]
    assert asked["urlpath"] == [f"lab/tree/course/{notebook}"]
    assert (book.folder / "_build/html" / notebook).is_file()
    for icon in soup.select(".dropdown-launch-buttons img"):
        assert (book.folder / "_build/html" / icon["src"]).is_file()


def test_the_built_book_holds_what_its_notebooks_need_elsewhere(book):
    out = book.folder / "_build/html"
    nb = nbformat.read(out / "_sources/index.ipynb", as_version=4)
    nbformat.validate(nb)
    install = next(cell for cell in nb.cells if cell.cell_type == "code").source
    compile(install, "install", "exec")
    assert '"https://github.com/someone/course"' in install and 'find_spec("course_lib") is None' in install
    needs = (out / "binder/requirements.txt").read_text("utf-8")
    assert "-c constraints.txt" in needs and "course_lib[teach] @ git+https://github.com/someone/course" in needs
    assert "../" not in needs and "-e " not in needs
    assert (out / "binder/constraints.txt").read_bytes() == (ROOT / "constraints.txt").read_bytes()
    assert (out / "_sources/book/recorded/run.json").exists() and (out / ".nojekyll").exists()


def test_a_published_page_has_its_address_and_the_site_a_map(book):
    soup, said = head(book.html())
    assert soup.select_one("link[rel=canonical]")["href"] == said["og:url"] == f"{SITE}/index.html"
    assert said["description"] == said["og:description"] == PROSE
    tree = ElementTree.parse(book.folder / "_build/html/sitemap.xml")
    assert [loc.text for loc in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")] == [f"{SITE}/index.html"]
    missing, _ = head((book.folder / "_build/html/404.html").read_text("utf-8"))
    assert [a["href"] for a in missing.select("main a")] == [f"{SITE}/index.html", f"{SITE}/search.html"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"repo": "https://a.example/b/c"}, "no key 'repo'"), ({"site": "course.example"}, "no address"),
     ({"hub": "https://hub.example"}, "give its address too")],
)  # fmt: skip
def test_a_setting_that_cannot_work_is_refused(setting, said):
    with pytest.raises(ConfigError, match=said):
        published.read_setting(None, SimpleNamespace(course_published=setting))


def test_another_host_than_github_has_no_colab():
    found = published.buttons({"repository": "https://git.example/group/course"}, "a.ipynb")
    assert [b["text"] for b in found] == ["Binder"]
    assert found[0]["url"].startswith("https://mybinder.org/v2/git/https%3A%2F%2Fgit.example%2Fgroup%2Fcourse/gh-pages")
    assert published.buttons({"site": SITE}, "a.ipynb") == []


def test_the_first_paragraph_is_cut_where_a_sentence_ends():
    def words(text: str) -> str:
        section = nodes.section("", nodes.title("", "T"), nodes.paragraph("", "Short."), nodes.paragraph("", text))
        page = nodes.document(None, None)
        page += section
        return first_words(page)

    first, rest = "This sentence is long enough to stand alone, is it not.", " More words" * 30
    assert words(first + rest) == first
    assert words(rest.strip()).endswith("words…") and len(words(rest.strip())) <= LONGEST
    assert words(first) == first


built = pytest.mark.skipif(not PAGES, reason="the book is not built (`make book`); `make test` builds it first")


@built
def test_until_then_nothing_of_it_is_there():
    for name in PAGES:
        soup, said = head((HTML / name).read_text("utf-8"))
        assert not soup.select("[class*=launch], link[rel=canonical], img[src*=logo_]"), name
        assert not {"og:url", "og:image"} & set(said), name
    assert not any((HTML / name).exists() for name in ("sitemap.xml", "binder", "_sources/book/recorded", ".nojekyll"))


@built
def test_every_page_says_what_it_is_about():
    described = {}
    for name in PAGES:
        soup, said = head((HTML / name).read_text("utf-8"))
        assert len(soup.select("meta[name=description]")) == 1
        assert 20 <= len(said["description"]) <= LONGEST and said["description"] == said["og:description"], name
        assert said["og:title"] and said["og:site_name"] == "Networks as differential equations"
        if name.startswith("book/"):
            described[name] = said["description"]
    assert described and len(set(described.values())) == len(described)


@built
def test_the_page_for_no_page_stands_by_itself():
    soup, _ = head((HTML / "404.html").read_text("utf-8"))
    assert not soup.select("link, img, script[src]") and soup.html["lang"] == "en"
    assert all((HTML / a["href"]).is_file() for a in soup.select("main a"))
