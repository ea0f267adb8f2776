"""The spelling gate finds mistakes and American forms in prose, and leaves code, names and formulas alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from course_lib.authoring import spelling

ROOT = Path(__file__).resolve().parents[1]
PAGE = """# A page

Some {words} of `color` and $center$, <span style="color: red">seen</span> in {{ref}}`gray`.

```{{code-cell}} ipython3
:mystnb: {{figure: {{caption: "A {caption} of some length", name: fig-gray}}}}
center = plot(color="gray", loc="upper center")  # {comment}
print(f"{string} of several words")
```
"""
RIGHT = {"words": "colours", "caption": "neighbour", "comment": "normalise it", "string": "Behaviour"}


def found(folder: Path, **words: str) -> list[str]:
    (folder / "book").mkdir(exist_ok=True)
    (folder / "book/page.md").write_text(PAGE.format(**(RIGHT | words)), encoding="utf-8")
    return spelling.faults(folder)


def test_names_in_code_are_not_prose(tmp_path):
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("place", "wrong", "line"),
    [("words", "colors", 3), ("caption", "neighbor", 6), ("comment", "normalize it", 7), ("string", "Behavior", 8),
     ("words", "recieved", 3), ("comment", "teh end is seperate", 7)],  # codespell:ignore
)  # fmt: skip
def test_a_fault_is_told_with_its_line(tmp_path, place, wrong, line):
    said = found(tmp_path, **{place: wrong})
    assert len(said) == 1 and said[0].startswith(f"book/page.md:{line}: "), said


def test_docstrings_and_comments_of_the_library_are_read(tmp_path):
    (tmp_path / "course_lib").mkdir()
    example = "For example::\n\n    gray = 1\n\nthat.\n"  # codespell:ignore
    module = f'"""Something gray. {example}"""\n\ncolor = normalize()  # the color\n'  # codespell:ignore
    (tmp_path / "course_lib/a.py").write_text(module, encoding="utf-8")
    told = [line.split(": ", 1)[1] for line in spelling.faults(tmp_path)]
    assert told == ["gray ==> grey", "color ==> colour"]


def test_an_empty_folder_does_not_pass(tmp_path):
    with pytest.raises(ValueError, match="none of the files"):
        spelling.faults(tmp_path)


def test_every_pattern_finds_a_file():
    assert not [pattern for pattern in spelling.FILES if not any(ROOT.glob(pattern))]
