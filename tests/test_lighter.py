"""Lighter pages: the same code to read, pictures pixel for pixel with their size, nothing loaded that no page needs."""

from __future__ import annotations

import re
from html import unescape
from importlib import resources
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_lib.authoring.alt_text import webp
from course_lib.authoring.lighter import DARK, LONG, PLAIN, lighter

HTML = Path(__file__).resolve().parents[1] / "_build/html"
UNBUILT = "the book is not built (`make book`); `make test` builds it first"
BUILT = pytest.mark.skipif(not (HTML / "index.html").exists(), reason=UNBUILT)


def text(page: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", page))


def block(rows: int) -> str:
    row = '<span class="n">x</span><span class="w"> </span><span class="o">=</span><span class="w"> </span>' \
          '<span class="mi">1</span><span class="p">)</span> &lt; <span class="kn">in</span>'
    inside = "\n".join([row] * rows)
    return f'<div class="highlight"><pre><span></span>{inside}\n</pre></div>'


def test_code_keeps_its_words_and_colours_and_loses_elements():
    page = lighter(block(3))
    assert text(page) == text(block(3)).rstrip("\n")
    assert page.count('<span class="o">') == page.count('<span class="kn">') == 3
    assert not re.search(rf'<span class="(?:{"|".join(PLAIN)})">', page)


def test_long_code_says_its_size_and_short_code_is_left():
    page = lighter(block(LONG))
    assert f'style="--rows: {LONG}; --columns: {len("x = 1) < in")}"' in page
    assert 'class="late"' not in lighter(block(LONG - 1))


def test_pictures_have_their_size_and_all_but_the_first_wait():
    page = lighter('<img alt="a" src="a.webp" style="width: 720px; height: 340px;" />' * 3)
    assert page.count('width="720" height="340"') == 3
    assert page.count('loading="lazy"') == 2
    assert not page.startswith('<img alt="a" src="a.webp" width="720" height="340" decoding="async" loading')


def test_only_the_page_of_results_loads_the_index_of_the_book():
    page = '<script src="../_static/searchtools.js"></script><script src="../searchindex.js"></script>'
    assert "script" not in lighter(page)
    assert re.findall(r'src="([^"]*)"', lighter(page, search=True)) == re.findall(r'src="([^"]*)"', page)


def test_a_page_is_dark_before_it_is_drawn():
    """After the line of the theme's own template, which knows only what a reader has chosen."""
    layout = resources.files("pydata_sphinx_theme").joinpath("theme/pydata_sphinx_theme/layout.html").read_text("utf-8")
    [line] = re.findall(r"^.*documentElement\.dataset\.theme = localStorage.*\n", layout, flags=re.MULTILINE)
    assert lighter(line).splitlines() == [line.rstrip("\n"), line[: len(line) - len(line.lstrip())] + DARK]


def test_every_script_waits_and_what_is_set_in_one_is_set_after_it():
    page = '<link rel="preload" as="script" href="a.js" /><script src="a.js"></script>'
    page += '<script data-x="1" src="b.js"></script>'
    page += "<script>DOCUMENTATION_OPTIONS.pagename = 'p';</script><script>let hint = 1;</script>"
    page += "<script defer src='c'></script>"
    assert lighter(page) == (
        '<script defer src="a.js"></script><script defer data-x="1" src="b.js"></script>'
        "<script type=\"module\">DOCUMENTATION_OPTIONS.pagename = 'p';</script><script>let hint = 1;</script>"
        "<script defer src='c'></script>"
    )


def test_webp_is_the_same_picture_pixel_for_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    packed = webp(Image.fromarray(pixels, "RGBA"))
    assert np.array_equal(np.asarray(Image.open(BytesIO(packed)).convert("RGBA")), pixels)


@BUILT
def test_classes_that_lose_their_element_have_the_colour_of_plain_text():
    style = (HTML / "_static/pygments.css").read_text("utf-8")
    for mode in ("light", "dark"):
        head = rf'html\[data-theme="{mode}"\] \.highlight'
        plain = re.search(rf"{head} {{ [^}}]*\bcolor: (#\w+)", style)[1]
        for name in PLAIN:
            assert re.findall(rf"{head} \.{name} {{ (.*?) }}", style) == [f"color: {plain}"], (mode, name)


@BUILT
def test_chapters_are_light():
    for path in HTML.glob("book/ch*.html"):
        page = path.read_text("utf-8")
        assert not re.search(r"fontawesome\.js|searchindex\.js", page), path
        figures = re.findall(r'<img\b[^>]*src="\.\./_images/[^>]*>', page)
        assert figures and all(re.search(r'\.webp" width="\d+" height="\d+"', figure) for figure in figures), path
        assert "<span></span>" not in page, path
        assert not re.search(r'<script (?!defer|type="module"|data-cfasync)|rel="preload"', page), path
        assert page.count('"(prefers-color-scheme: dark)"') == 1, path
