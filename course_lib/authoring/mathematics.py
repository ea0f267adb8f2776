"""Formulas as MathML, written into the pages while the book is built: nothing to load, no script, no shift.

math-core turns LaTeX into MathML Core, which browsers draw by themselves and screen readers read. It was chosen for its
weight: MathJax in one file, which draws the formulas in the browser, weighs 720 kB compressed, and KaTeX's style and
fonts 1.2 MB; here the formulas of a chapter weigh less than 10 kB in its page, and their font 80 kB once
(tests/test_mathematics.py measures both). A formula that cannot be read is a warning at its place in the source, and
warnings are errors.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOGGER = logging.getLogger(__name__)
READER = LatexToMathML(fancy_error=False, xml_namespace=True)  # the name space is for ePub
CHANCERY = "\N{VARIATION SELECTOR-1}"  # a choice among two script alphabets; fonts have one
INNER = re.compile(r"\\begin\{(\w+\*?)\}(?:(?!\\begin\{).)*?\\end\{\1\}", re.DOTALL)
TOKEN = r"(?:<(mi|mo|mn)\b[^>]*>[^<]*</\2>|<mrow><mspace/><mi mathvariant=\"normal\">[^<]*</mi></mrow>)"
PRIMED = re.compile(rf"<msup>({TOKEN})<mo>([′″‴])</mo></msup>")
BELOW = r"(?:<m[ino]\b[^>]*>[^<]*</m[ino]>|<mrow>(?:(?!</?mrow).)*</mrow>)"
PRIMED_BELOW = re.compile(rf"<msubsup>({TOKEN})({BELOW})<mo>([′″‴])</mo></msubsup>")
FENCE = re.compile(r'<(msup|msub|msubsup)>(<mo\b[^>]*\bminsize="[^>]*)>([^<]*)</mo>')


def has_lines(latex: str) -> bool:
    """Whether a formula is broken into lines outside of any environment."""
    while (outer := INNER.sub("", latex)) != latex:
        latex = outer
    return r"\\" in latex


@cache
def mathml(latex: str, display: bool) -> str:
    """The ``<math>`` element of a formula.

    Lines outside of an environment are aligned, as Sphinx does for MathJax. Two things that browsers draw badly are
    written otherwise: a prime stands beside its letter, since as a superscript it is small and far off; and a large
    bracket with an exponent is a row of its own, since it would be small and low as the base itself.

    Raises
    ------
    math_core.LatexError
        the formula is not LaTeX, or uses what math-core does not know.
    """
    if display and has_lines(latex):
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    element = READER.convert_with_local_state(latex, displaystyle=display).replace(CHANCERY, "")
    element = FENCE.sub(r'<\1><mrow>\2 form="postfix">\3</mo></mrow>', element)
    element = PRIMED_BELOW.sub(r'<msub><mrow>\1<mo lspace="0" rspace="0">\4</mo></mrow>\3</msub>', element)
    return PRIMED.sub(r'<mrow>\1<mo lspace="0" rspace="0">\3</mo></mrow>', element)


def written(node: nodes.Element, display: bool) -> str:
    """The formula of a node; one that cannot be read is warned of and shown as it was written."""
    try:
        return mathml(node.astext(), display)
    except LatexError as error:
        LOGGER.warning("formula %s: %s", node.astext(), error, location=node)
        return f"<code>{escape(node.astext())}</code>"


def visit_inline(translator, node: nodes.math) -> None:
    """A formula in a line of text."""
    translator.body.append(translator.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    translator.body.append(written(node, display=False) + "</span>")
    raise nodes.SkipNode


def visit_block(translator, node: nodes.math_block) -> None:
    """A formula on lines of its own, with its number and a link to it."""
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(written(node, display=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
