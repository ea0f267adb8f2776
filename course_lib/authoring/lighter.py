"""Lighter pages: what the theme sends and no page needs is taken out of each page as it is written.

*Icons.* The theme loads Font Awesome twice: as style with fonts, which draw every icon here, and as a script of 1.5 MB
that puts an SVG in the place of each.

*Search.* Every page loads the index of the whole book, which only the page of results reads: the theme's search while
one types is off.

*Scripts.* None is needed before the page is drawn, so all wait until it is read, and those two that the theme has
fetched beforehand do not stand in the way of its style. What a page sets in a script that has waited, it sets later.

*Code.* Pygments wraps each name, bracket and space in an element of its own, though they have the colour of their
surroundings: two thirds of the elements of a chapter. And a browser lays out long blocks of code only once the reader
comes near (``content-visibility``, in course.css); their rows and columns, given here, keep the page from shifting. The
same for sections, see `late`.

*Keyboard.* Code and outputs that scroll are reachable by keyboard: course.js measures each when it comes near, and what
is given here holds until then.

*Library.* The fields of a named tuple are in its signature; autodoc would list each again as an alias.

*Pictures.* A picture has its size, so that nothing moves when it arrives, and all but the first wait until the reader
comes near.
"""

from __future__ import annotations

import re
from html import unescape

from sphinx.application import Sphinx
from sphinx.jinja2glue import BuiltinTemplateLoader

from .late import later

ICONS = re.compile(r'\s*<script defer src="[^"]*/scripts/fontawesome\.js[^"]*"></script>')
SEARCH = re.compile(r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>')
SCRIPT = re.compile(r"<script (?!defer)([^>]*\bsrc=)")
SETTING = re.compile(r"<script>(?=DOCUMENTATION_OPTIONS\.)")
PRELOAD = re.compile(r'\s*<link rel="preload" as="script"[^>]*>')
# pydata-sphinx-theme draws a page light, which turns dark when the theme's script has come (its issue 1857).
THEME = re.compile(r'(( *)document\.documentElement\.dataset\.theme = localStorage[^;]*;)')
DARK = (
    'if (document.documentElement.dataset.mode === "auto") document.documentElement.dataset.theme = '
    'matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";'
)
PLAIN = ("n", "nn", "p", "w")  # Pygments' classes with the colour of plain text; tests/test_lighter.py compares
WRAPPED = re.compile(rf'<span class="(?:{"|".join(PLAIN)})">([^<]*)</span>')
CODE = re.compile(r'(<div class="highlight">)<pre>(?:<span></span>)?(.*?)\n?</pre>', re.DOTALL)
OUTPUT = re.compile(r'(<div class="output [^"]*")')
PICTURE = re.compile(r'(<img\b[^>]*?) style="width: (\d+)px; height: (\d+)px;"')
LONG, WIDE = 10, 88  # rows, columns


def code(match: re.Match) -> str:
    """A block of code with fewer elements; a long one says how large it is."""
    inside = WRAPPED.sub(r"\1", match[2])
    rows = [unescape(re.sub(r"<[^>]*>", "", row)) for row in inside.split("\n")]
    columns = max(map(len, rows))
    if len(rows) >= LONG and not re.search(r"<(?!/?span\b)", inside):
        inside = f'<span class="late" style="--rows: {len(rows)}; --columns: {columns}">{inside}</span>'
    return f'{match[1]}<pre tabindex="{-1 if columns < WIDE else 0}">{inside}</pre>'


def lighter(page: str, search: bool = False) -> str:
    """A page of HTML without what it does not need; ``search`` keeps the index of the book."""
    seen = 0

    def sized(match: re.Match) -> str:
        nonlocal seen
        seen += 1
        late = ' loading="lazy"' if seen > 1 else ""
        return f'{match[1]} width="{match[2]}" height="{match[3]}" decoding="async"{late}'

    page = page if search else SEARCH.sub("", page)
    page = THEME.sub(rf"\1\n\2{DARK}", page)
    page = SCRIPT.sub(r"<script defer \1", SETTING.sub('<script type="module">', PRELOAD.sub("", page)))
    page = OUTPUT.sub(r'\1 tabindex="-1"', CODE.sub(code, ICONS.sub("", page)))
    return later(PICTURE.sub(sized, page))


def without_aliases(app: Sphinx, what: str, name: str, member, skip: bool, options) -> bool | None:
    """Tells autodoc to leave out the fields of named tuples."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


class Templates(BuiltinTemplateLoader):
    """Sphinx's templates, each page lighter."""

    def render(self, template: str, context: dict) -> str:
        page = super().render(template, context)
        return lighter(page, search=template == "search.html") if template.endswith(".html") else page


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-skip-member", without_aliases)
    app.config.template_bridge = f"{__name__}.Templates"
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
