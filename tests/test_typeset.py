"""Lines of text: no formula loses its full stop, and no number is shown as Python wrote it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from course_lib.authoring.mathematics import mathml
from course_lib.authoring.typeset import typeset

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "_build/html").glob("*/*.html"))
SPAN = f'<span class="math notranslate nohighlight">{mathml("x", False)}</span>'


@pytest.mark.parametrize(("before", "after"), [("", "."), ("(", "),"), ("", "-axis"), ("‘", "")])
def test_a_formula_is_kept_with_what_touches_it(before, after):
    page = f"<p>Words {before}{SPAN}{after} and words</p>"
    assert typeset(page) == f'<p>Words <span class="together">{before}{SPAN}{after}</span> and words</p>'


def test_a_formula_that_nothing_touches_is_left():
    page = f"<p>{SPAN} and <em>{SPAN}</em>, or {SPAN}</p>"
    assert typeset(page) == page


@pytest.mark.parametrize(
    ("written", "read"),
    [("8e-05", "8 · 10−5"), ("1.0e+17", "1.0 · 1017"), ("1e-04", "10−4"), ("off by 2.5e-11.", "off by 2.5 · 10−11.")],
)
def test_a_number_is_a_multiple_of_a_power_of_ten(written, read):
    soup = BeautifulSoup(typeset(f"<p>{written}</p>"), "html.parser")
    assert soup.get_text() == read and soup.select_one(".together sup").get_text() == re.search("10(.*?)[.]?$", read)[1]


@pytest.mark.parametrize(
    ("written", "read"),
    [("from -0.20 to -2e-16 (-3)", "from −0.20 to −2 · 10−16 (−3)"), ("pages 2-50, k-2, - 3", "pages 2-50, k-2, - 3"),
     ('by <span class="pasted-text">-0.2</span>', "by −0.2"),
     ('by <span class="pasted-text">-2e-16</span>', "by −2 · 10−16")],
)  # fmt: skip
def test_a_negative_number_has_a_minus_sign_and_a_hyphen_stays(written, read):
    assert BeautifulSoup(typeset(f"<p>{written}</p>"), "html.parser").get_text() == read


LEFT = ["<pre>8e-05</pre>", '<img alt="8e-05"/>', "<code>1e-04</code>", "<script>8e-05</script>", "3a8e-05b", "1e-6"]


@pytest.mark.parametrize("page", LEFT)
def test_code_attributes_and_names_are_left(page):
    assert typeset(page) == page


def test_no_number_in_the_books_text_is_left_as_python_wrote_it():
    if not PAGES:
        pytest.skip("the book is not built (`make book`); `make test` builds it first")
    powers = 0
    for path in PAGES:
        soup = BeautifulSoup(path.read_text("utf-8"), "html.parser").select_one("article") or ""
        for code in soup and soup.select("pre, code, script, math, svg"):
            code.decompose()
        assert not (found := re.findall(r"(?<![\w.])\d\S*e[+-]\d\d\b", soup and soup.get_text())), f"{path}: {found}"
        powers += len(soup.select(".together > sup")) if soup else 0
    assert powers > 20
