"""Heights of sections that are laid out late; that they are right is measured in a browser (test_browser.py)."""

from __future__ import annotations

import re

import pytest

from course_lib.authoring import late
from course_lib.authoring.late import heights, later

PAGE = """<section>not the book's</section><article class="bd-article"><section id="top"><h1>Title</h1>
<section id="first"><p>Ten letters</p><section id="inner" class="x"><p></p></section></section>
<section id="second"><pre>a\nb</pre></section></section></article><section id="after"></section>"""


def test_each_section_below_the_title_says_how_tall_it_will_be():
    page = later(PAGE)
    assert re.findall(r'<section id="(\w+)" style', page) == ["first", "second"]
    assert re.sub(r' style="--tall: \d+px; --small: \d+px"', "", page) == PAGE
    assert f"--tall: {round(2 * late.ROW + late.CODE)}px; --small: {round(2 * late.ROW + late.CODE)}px" in page


@pytest.mark.parametrize(
    ("html", "tall"),
    [
        ("<p>abcd<em>efghij</em></p>", late.BLOCK + 10 * late.CHARACTER[0]),
        ("<details><summary>Hint</summary><pre>a\nb</pre><p>long</p></details>", late.FOLDED),
        ('<div class="math notranslate"><math><mi>x</mi></math></div>', late.FORMULA),
        ("<course-x><p>fallback</p></course-x><script>\n\n</script>", late.WIDGET[0]),
        ("<table><tr><td></td></tr><tr></tr></table>", 2 * late.LINE),
        (f'<img alt="a" width="{2 * late.COLUMN[0]}" height="400" />', 200 + late.PICTURE),
        ('<img alt="a" width="100" height="50" />', 50 + late.PICTURE),
    ],
)
def test_what_stands_in_a_section_takes_its_height(html, tall):
    assert heights(html)[0] == round(tall)


def test_words_take_more_lines_on_a_phone_and_pictures_less():
    assert heights("<p>Some words</p>")[0] < heights("<p>Some words</p>")[1]
    picture = '<img alt="a" width="600" height="400" />'
    assert heights(picture)[0] > heights(picture)[1]
