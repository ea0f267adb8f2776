"""Pages of a book execute at the same time, and what they give is what myst-nb itself would have shown."""

from __future__ import annotations

import re

import pytest
from test_strict_book import Book, page

from course_lib.authoring.execute import processors
from course_lib.authoring.times import spoken

# Each page waits until the other has begun: alone, it would wait in vain.
WAIT = """
import pathlib, time
pathlib.Path("begun-{own}").touch()
end = time.monotonic() + 60
while not pathlib.Path("begun-{other}").exists() and time.monotonic() < end:
    time.sleep(0.05)
print("together:", pathlib.Path("begun-{other}").exists())
"""


@pytest.fixture
def book(tmp_path) -> Book:
    book = Book(tmp_path)
    (book.folder / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters: [{file: second}]\n")
    return book


@pytest.mark.skipif(processors() < 2, reason="one processor executes one page at a time")
def test_two_pages_execute_at_the_same_time(book):
    (book.folder / "second.md").write_text(page(WAIT.format(own="b", other="a").strip()), encoding="utf-8")
    result = book.build(page(WAIT.format(own="a", other="b").strip()))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "together: True" in book.html()
    assert "together: True" in (book.folder / "_build/html/second.html").read_text("utf-8")


def test_a_failing_page_beside_a_sound_one_is_named(book):
    (book.folder / "second.md").write_text(page("1 / 0"), encoding="utf-8")
    for _ in range(2):
        result = book.build(page("print(1)"))
        assert result.returncode != 0
        assert "ZeroDivisionError" in result.stdout + result.stderr and "second" in result.stdout + result.stderr


def test_a_chapter_says_how_long_its_code_ran_and_so_does_its_notebook(book):
    """And still says it when a word of it has changed and nothing was executed. The kernel's start counts."""
    (book.folder / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters: [{file: book/ch1_slow}]\n")
    text = page("import time\ntime.sleep(6)", prose="**How long**: an hour to read.")
    said = set()
    for words in ("an hour", "two hours"):
        (book.folder / "book/ch1_slow.md").write_text(text.replace("an hour", words), encoding="utf-8")
        result = book.build("# No code\n\nWords.\n")
        assert result.returncode == 0, result.stdout + result.stderr
        for name in ("book/ch1_slow.html", "_sources/book/ch1_slow.ipynb"):
            told = re.search(
                rf"{words} to read\. When this book was built, the code of the page ran in (\d+) seconds\.",
                (book.folder / "_build/html" / name).read_text("utf-8"),
            )
            said.add(int(told[1]))
    assert len(said) == 1 and 6 <= said.pop() < 60


def test_times_as_one_says_them():
    assert [spoken(seconds) for seconds in (0.2, 89, 100, 185)] == ["1 second", "89 seconds", "1½ minutes", "3 minutes"]
