"""What a line of text needs where formulas and computed numbers stand in it.

A browser may break a line on either side of a formula, so that a full stop can begin the next one: a formula is kept
together with what touches it. And a number that Python wrote as ``8e-05`` is shown as a reader writes it, 8 · 10⁻⁵,
outside of code and of what programs print.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

FORMULA = r'<span class="math notranslate nohighlight"[^>]*><math\b.*?</math></span>'
TOUCHING = re.compile(rf"([^\s<>]*)((?:{FORMULA})+)([^\s<>]*)", re.DOTALL)
# Elements that are left as they are, and every other tag.
LEAVE = re.compile(r"(<(pre|code|script|style|svg|math)\b.*?</\2>|<[^>]*>)", re.DOTALL)
POWER = re.compile(r"(?<![\w.])(\d(?:\.\d+)?)e([+-]\d\d)(?!\w|\.\d)")
MINUS = re.compile(r"(?<=[\s(\[])-(?=\d)")
GLUED = re.compile(r'(<span class="pasted-text">)-(?=(?:<span class="together">)?\d)')


def touching(match: re.Match) -> str:
    """A formula with the words and signs before and after it, as one piece if there are any."""
    before, formula, after = match.groups()
    return f'<span class="together">{match[0]}</span>' if before or after else formula


def power(match: re.Match) -> str:
    """A number in Python's notation, as a multiple of a power of ten."""
    exponent = f"10<sup>{int(match[2])}</sup>".replace("-", "\N{MINUS SIGN}")
    return f'<span class="together">{"" if match[1] == "1" else f"{match[1]} · "}{exponent}</span>'


def typeset(body: str) -> str:
    """The HTML of a page's text, with formulas kept together with what touches them, and powers of ten."""
    parts = LEAVE.split(body)
    # Text, then what is left alone and the name of its element, in turn.
    parts[::3] = [POWER.sub(power, MINUS.sub("\N{MINUS SIGN}", text)) for text in parts[::3]]
    del parts[2::3]
    return TOUCHING.sub(touching, GLUED.sub("\\1\N{MINUS SIGN}", "".join(part for part in parts if part)))


def mend(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    if context.get("body") and doctree is not None:
        context["body"] = typeset(context["body"])


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
