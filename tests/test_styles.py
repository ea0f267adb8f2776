"""One style sheet: what it keeps, what it drops, and that every page loads it and nothing that it was made from."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from course_lib.authoring import styles

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build/html"
CSS = """@charset "utf-8";
.used, .unused > p { fill: red; }
.used:not(.never, .used) [data-x=".no-name"] { fill: blue }
.used .unused { fill: red }
.unused { fill: green; background: url(data:image/svg+xml,{}) }
@media (max-width: 9em) { .unused { fill: red } #place::after { content: "} .unused {"; } }
@media print { .unused { fill: red } }
@font-face { font-family: F; src: url("f.woff2") }
p{}
"""


def test_rules_that_no_page_can_use_are_dropped():
    known = {"used", "place"}.__contains__
    assert styles.pruned(styles.COMMENT.sub("", CSS), known) == (
        '.used{fill: red;}.used:not(.never, .used) [data-x=".no-name"]{fill: blue}'
        '@media (max-width: 9em){#place::after{content: "} .unused {";}}'
        '@font-face{font-family: F; src: url("f.woff2")}'
    )


@pytest.mark.parametrize("name", ["on-page", "an-id", "of_script", "bs-tooltip-auto", "inside"])
def test_what_a_page_or_a_script_names_can_occur(name):
    known = styles.vocabulary(
        ['<p class="on-page other" id="an-id"></p><script type="module">x = "inside";</script>'],
        ['e.classList.add("of_script"); e.className = "bs-tooltip-" + side;'],
    )
    assert known(name) and not known("on") and not known("bs-popover-auto")


@pytest.fixture
def book(tmp_path) -> Path:
    """A built book of two pages and three style sheets, one of which only one page loads."""
    static = tmp_path / "_static"
    (static / "styles").mkdir(parents=True)
    (static / "base.css").write_text(".a { fill: red } .b { fill: red }")
    (static / "styles/theme.css").write_text('@import "../base.css"; .a { background: url(../img/a.png) } /* { */')
    (static / "front.css").write_text(".a { fill: blue }")
    links = '<link href="{up}_static/styles/theme.css?digest=1" rel="stylesheet" />\n' \
            '<link rel="stylesheet" type="text/css" href="{up}_static/base.css" />\n{more}' \
            '<link media="print" rel="stylesheet" href="{up}_static/print.css" /><p class="a"></p>'
    front = '<link rel="stylesheet" href="{up}_static/front.css" />\n'
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/two.html").write_text(links.format(up="../", more=""))
    (tmp_path / "one.html").write_text(links.format(up="", more=front.format(up="")))
    return tmp_path


def join(book: Path) -> list[list[str]]:
    styles.join(SimpleNamespace(builder=SimpleNamespace(name="html"), outdir=str(book)), None)
    return [re.findall(r'href="([^"?]*)', (book / name).read_text()) for name in ("one.html", "sub/two.html")]


def test_pages_load_the_joined_sheet_in_place_of_its_sources(book):
    first, second = join(book)
    assert first == ["_static/book.css", "_static/front.css", "_static/print.css"]
    assert second == ["../_static/book.css", "../_static/print.css"]
    css = (book / "_static/book.css").read_text()
    assert css.endswith('.a{fill: red}.a{background: url("img/a.png")}.a{fill: red}')


def test_a_later_build_joins_again_what_has_changed(book):
    """Also where Sphinx wrote no page anew, or one."""
    join(book)
    version = re.search(r"v=(\w+)", (book / "one.html").read_text())[1]
    (book / "_static/base.css").write_text(".a { fill: green }")
    assert join(book)[0] == ["_static/book.css", "_static/front.css", "_static/print.css"]
    assert ".a{fill: green}" in (book / "_static/book.css").read_text()
    assert f"v={version}" not in (book / "one.html").read_text()
    sheets = ("styles/theme.css", "base.css")
    links = "\n".join(f'<link href="../_static/{name}" rel="stylesheet" />' for name in sheets)
    (book / "sub/two.html").write_text(f'{links}<p class="b"></p>')
    assert join(book)[1] == ["../_static/book.css"]


@pytest.mark.skipif(not (HTML / "index.html").exists(), reason="the book is not built (`make book`)")
def test_every_page_of_the_book_loads_one_sheet_a_third_of_its_sources():
    sources = (HTML / styles.JOINED).read_text("utf-8").partition("*/")[0].split()[1:]
    assert len(sources) > 8 and "_static/course.css" in sources
    for path in HTML.glob("*/*.html"):
        if "_static" in path.parts:
            continue
        loaded = [name.rpartition("/")[2] for name in styles.LINK.findall(path.read_text("utf-8"))]
        assert loaded == ["book.css", "front.css"][: 1 + (path.stem == "intro")], path
    whole = sum(len(styles.read(HTML / name)) for name in sources)
    assert (HTML / styles.JOINED).stat().st_size < whole / 3
    for name in (".admonition", ".cell_output", "#pst-back-to-top", "p.claim", ".highlight .k"):
        assert name in (HTML / styles.JOINED).read_text("utf-8"), name
