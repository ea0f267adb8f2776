"""Formulas as MathML: what stands in the built pages, which characters its font draws, and lines, primes, faults."""

from __future__ import annotations

import gzip
import html
import re
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from math_core import LatexError

from course_lib.authoring.mathematics import mathml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "_build/html").rglob("*.html"))
FORMULA = re.compile(r'<(span|div) class="math notranslate nohighlight"[^>]*>(.*?)</\1>', re.DOTALL)


def test_every_formula_of_the_pages_is_mathml_that_the_font_can_draw():
    if not PAGES:
        pytest.skip("the book is not built (`make book`); `make test` builds it first")
    known = set(TTFont(ROOT / "book/_static/fonts/stix-two-math.woff2").getBestCmap())
    count = 0
    for path in PAGES:
        text = re.sub(r'<span class="eqno">.*?</span>', "", path.read_text("utf-8"))
        for wrapped in FORMULA.finditer(text):
            formula = wrapped[2].strip()
            assert formula.startswith("<math") and formula.endswith("</math>"), f"{path}: {formula}"
            shown = html.unescape(re.sub("<[^>]*>", "", formula))
            assert not [c for c in shown if ord(c) not in known and not c.isspace()], f"{path}: {shown}"
            count += 1
    assert count > 100


def test_formulas_and_their_font_are_as_light_as_is_said():
    chapters = [path for path in PAGES if re.match(r"ch\d", path.name) and path.parent.name == "book"]
    if not chapters:
        pytest.skip("the book is not built (`make book`); `make test` builds it first")
    for path in chapters:
        page = path.read_text("utf-8")
        without = re.sub(r"<math\b.*?</math>", "", page, flags=re.DOTALL)
        weight = len(gzip.compress(page.encode())) - len(gzip.compress(without.encode()))
        assert 100 < weight < 10_000, f"{path}: {weight}"
    assert (ROOT / "book/_static/fonts/stix-two-math.woff2").stat().st_size < 82_000


def test_lines_outside_of_an_environment_are_aligned():
    assert mathml(r"a &= b \\ &= c", True).count("<mtr>") == 2
    matrix = r"\begin{pmatrix} 0 & 1 \\ 1 & 0 \end{pmatrix}"
    assert mathml(matrix, True).count("<mtable") == 1
    assert mathml(rf"\begin{{aligned}} a &= {matrix} \\ &= c \end{{aligned}}", True).count("<mtable") == 2


@pytest.mark.parametrize("latex", ["x'", r"\sigma'(K x)", r"\Phi''", "f(x)'", r"\gamma_j'", "z_{k+1}'(t)"])
def test_a_prime_stands_beside_its_letter(latex):
    assert re.search(r'<mo lspace="0" rspace="0">[′″]</mo></mrow>', mathml(latex, False))
    assert not re.search("<msup>|<msubsup>", mathml(latex, False))
    assert ("_" in latex) == ("<msub>" in mathml(latex, False))


@pytest.mark.parametrize("latex", [r"\Big( x \Big)^2", r"\big| x \big|_2^2", r"\Big[ \big( x \big)_k \Big]^{\!\top}"])
def test_a_large_bracket_is_as_large_with_an_exponent(latex):
    """Chromium stretches a bracket that ends a row, and not one that is itself the base of an exponent."""
    assert re.search("<mrow><mo [^>]*minsize", mathml(latex, True))
    assert not re.search(r"<msu\w+><mo [^>]*minsize", mathml(latex, True))


def test_no_prime_of_the_pages_is_the_superscript_of_a_letter():
    """It may be that of a bracket around a column, which is taller."""
    for path in PAGES:
        assert not re.search(r"</m[ino]><mo>[′″‴]</mo></msu(p|bsup)>", path.read_text("utf-8")), path


def test_a_formula_in_a_line_and_one_on_its_own_differ():
    assert 'display="block"' in mathml("x", True)
    assert 'display="block"' not in mathml("x", False)


@pytest.mark.parametrize("latex", [r"\summ x", r"\frac{a}", r"\left( a", r"\begin{nothing} a \end{nothing}"])
def test_what_is_not_latex_is_refused(latex):
    with pytest.raises(LatexError):
        mathml(latex, False)
