"""Pages of a book execute at the same time, and what they give is what myst-nb itself would have shown."""

from __future__ import annotations

import pytest
from test_strict_book import Book, page

from course_lib.authoring.execute import processors

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
