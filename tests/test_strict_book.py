"""The book's build is strict: each kind of fault fails it, on the first build and on a second, cached one.

Tiny books are built with the real `_config.yml`, each in a folder of its own; only their pages differ.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.authoring.sphinx_ext import inputs_hash

ROOT = Path(__file__).resolve().parents[1]
HEAD = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# A page

"""
CELL = "```{{code-cell}} ipython3\n{code}\n```\n"


def page(code: str = "print(1 + 1)", prose: str = "Words.") -> str:
    return HEAD + prose + "\n\n" + CELL.format(code=code)


class Book:
    """A book of one page in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copytree(ROOT / "book/_static", folder / "book/_static")
        shutil.copy(ROOT / "_config.yml", folder)
        (folder / "book/references.bib").touch()
        (folder / "_toc.yml").write_text("format: jb-book\nroot: index\n")

    def build(self, text: str | None = None, **environment: str) -> subprocess.CompletedProcess:
        if text is not None:
            (self.folder / "index.md").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "course_lib.authoring.build", str(self.folder)]
        run = {"capture_output": True, "text": True, "env": os.environ | environment, "cwd": self.folder}
        return subprocess.run(command, **run)

    def html(self) -> str:
        return (self.folder / "_build/html/index.html").read_text("utf-8")


@pytest.fixture
def book(tmp_path) -> Book:
    return Book(tmp_path)


FAULTS = {
    "warning": (page(prose="```{no-such-directive}\n```"), "no-such-directive"),
    "reference to nothing": (page(prose="{py:func}`course_lib.no_such_function`"), "no_such_function"),
    "formula that cannot be read": (page(prose=r"The sum $\summ_i x_i$."), "summ"),
    "link to nothing": (page(prose="[there](nowhere.md)"), "nowhere"),
    "execution error": (page(code="1 / 0"), "ZeroDivisionError"),
    "claim that changed": (
        page(code="from course_lib.claims import settle\nsettle('A1', 'no', as_written=False)"),
        "claim A1: computed 'does not hold as written'",
    ),
    "number out of range": (
        page(code="from course_lib.claims import report\nreport('tiny_n', 3.0, between=(0, 1))"),
        "tiny_n: computed 3",
    ),
    "claim never computed": (page(prose="```{claims-table} 1\n```"), "claim A1: chapter 1 computed no value"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_first_build_and_the_second(book, fault):
    text, said = FAULTS[fault]
    for attempt in ("first", "second"):
        result = book.build(text if attempt == "first" else None)
        assert result.returncode != 0, f"the {attempt} build of a book with this fault passed: {fault}"
        assert said in result.stdout + result.stderr


def test_a_sound_book_builds_and_its_second_build_executes_nothing(book):
    code = """
from course_lib.claims import report
report("tiny_two", 2, equals=2)
import time
print("executed at", time.time_ns())"""
    text = page(code=code.strip(), prose="It is {glue:text}`tiny_two`.")
    first = book.build(text)
    assert first.returncode == 0, first.stdout + first.stderr
    executed = re.search(r"executed at \d+", book.html()).group()
    # A new word makes Sphinx read the page again; its code is unchanged, so the stored output must come back.
    assert book.build(text.replace("It is", "Again it is")).returncode == 0
    assert re.search(r"Again it is <span[^>]*>2</span>", book.html())
    assert executed in book.html()


def test_a_change_in_the_library_executes_the_page_again(book):
    """An edited copy of the library stands in front of the installed one; the page itself stays as it is."""
    library = book.folder / "path" / "course_lib"
    shutil.copytree(ROOT / "course_lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PYTHONPATH": str(library.parent)}
    code = "from course_lib.integrators import euler\nprint('state', euler(lambda t, x: x, 0.0, 1.0, 0.5))"
    assert book.build(page(code=code), **environment).returncode == 0
    assert "state 1.5" in book.html()
    explicit = library / "integrators" / "explicit.py"
    source = explicit.read_text("utf-8")
    explicit.write_text(source.replace("return x + h * f(t, x)", "return x - h * f(t, x)"), encoding="utf-8")
    assert book.build(**environment).returncode == 0
    assert "state 0.5" in book.html()


def test_a_broken_library_cannot_hide_behind_the_cache(book):
    """Break Euler's sign: a page whose claim rests on it passed before, and must fail now."""
    library = book.folder / "path" / "course_lib"
    shutil.copytree(ROOT / "course_lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PYTHONPATH": str(library.parent)}
    code = (
        "from course_lib.claims import settle\nfrom course_lib.integrators import euler\n"
        "settle('A1', 'one step', as_written=euler(lambda t, x: x, 0.0, 1.0, 1.0) == 2.0)"
    )
    assert book.build(page(code=code), **environment).returncode == 0
    explicit = library / "integrators" / "explicit.py"
    source = explicit.read_text("utf-8")
    explicit.write_text(source.replace("return x + h * f(t, x)", "return x - h * f(t, x)"), encoding="utf-8")
    result = book.build(**environment)
    assert result.returncode != 0 and "claim A1: computed" in result.stdout + result.stderr


def test_the_cache_is_named_after_what_the_pages_compute_with(tmp_path):
    """A change in the library, a record or the versions gives another name; one in the tools that build does not."""
    library = tmp_path / "course_lib"
    for name in ("solve.py", "authoring/gate.py", "marking/mark.py"):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text("1")
    other = tmp_path / "constraints.txt"
    other.write_text("torch==2")

    def name() -> str:
        return inputs_hash(library, other, without=("authoring", "marking"))

    first, whole = name(), inputs_hash(library, other)
    (library / "authoring/gate.py").write_text("2")
    (library / "marking/mark.py").write_text("2")
    assert name() == first and inputs_hash(library, other) != whole
    (library / "solve.py").write_text("2")
    second = name()
    other.write_text("torch==3\n# Tools that no page computes with: ...\nruff==1\n")
    third = name()
    assert len({first, second, third}) == 3
    other.write_text("torch==3\n# Tools that no page computes with: ...\nruff==2\n")
    assert name() == third
