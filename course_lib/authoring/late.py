"""Sections are laid out when their reader comes near: a phone would spend its first second on those of a chapter.

A browser that skips a section (``content-visibility``, in course.css) takes its height on trust. Here it is estimated
from what stands in the section, for a desktop and for a phone, within a tenth for most; tests/test_browser.py compares.
"""

from __future__ import annotations

import re
from html import unescape

# Heights in pixels, fitted to the sections of the book; of two, the second is for a phone.
COLUMN = (688, 358)
CHARACTER = (0.378, 0.753)
CELL = (0.45, 0.7)  # a character in a table
WIDGET = (700, 870)
BLOCK, ROW, CODE, FOLDED, LINE, FORMULA, PICTURE = 28.5, 16.5, 37, 44, 33, 88, 26

SECTION = re.compile(r"(<section\b[^>]*)>|</section>")
ARTICLE = '<article class="bd-article"'
SIZE = re.compile(r'<img\b[^>]*\bwidth="(\d+)" height="(\d+)"')
SCRIPT, WIDGETS, DETAILS, PRE, TABLE, MATH = (
    re.compile(rf"<{start}\b.*?</{end}>", re.DOTALL)
    for start, end in (
        ("script", "script"), (r"course-(\w+)", r"course-\1"), ("details", "details"),
        ("pre", "pre"), ("table", "table"), ('div class="math', "div"),
    )
)  # fmt: skip


def words(html: str) -> int:
    """How many characters one reads."""
    return len(" ".join(unescape(re.sub(r"<[^>]*>", "", html)).split()))


def heights(section: str) -> tuple[int, int]:
    """What a section will take on a desktop and on a phone, in pixels."""
    rest, found = SCRIPT.sub("", section), []
    for pattern in (WIDGETS, DETAILS, PRE, TABLE, MATH):
        found.append([match[0] for match in pattern.finditer(rest)])
        rest = pattern.sub("", rest)
    widgets, folded, codes, tables, formulas = found
    pictures = [(int(width), int(height)) for width, height in SIZE.findall(rest)]
    fixed = BLOCK * len(re.findall(r"<(?:p|dt|h\d)\b", rest)) + FOLDED * len(folded) + FORMULA * len(formulas)
    fixed += CODE * len(codes) + ROW * sum(code.count("\n") + 1 for code in codes)
    fixed += LINE * sum(len(re.findall(r"<tr\b", table)) for table in tables)
    return tuple(
        round(
            fixed + CHARACTER[k] * words(rest) + CELL[k] * sum(map(words, tables)) + WIDGET[k] * len(widgets)
            + sum(height * min(1, COLUMN[k] / width) + PICTURE for width, height in pictures)
        )
        for k in (0, 1)
    )  # fmt: skip


def later(page: str) -> str:
    """A page whose sections below its title say how tall they will be."""
    out, done, depth, opened = [], 0, 0, None
    for mark in SECTION.finditer(page, max(page.find(ARTICLE), 0)):
        depth += 1 if mark[1] else -1
        if mark[1] and depth == 2:
            opened = mark
        elif not mark[1] and depth == 1 and opened:
            tall, small = heights(page[opened.end() : mark.start()])
            style = f' style="--tall: {tall}px; --small: {small}px">'
            out += [page[done : opened.start()], opened[1], style, page[opened.end() : mark.start()]]
            done, opened = mark.start(), None
    return "".join([*out, page[done:]])
