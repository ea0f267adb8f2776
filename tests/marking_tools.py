"""A small assignment to be marked, and what students make of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nbformat

from course_lib.authoring import masters
from course_lib.marking.examiner import Examination, examine
from course_lib.marking.restore import load, recognise, restore
from course_lib.marking.sandbox import Limits, works
from course_lib.marking.source import Assignment, read
from course_lib.marking.walled import Cold, Warm, best

WALLS = not works()  # without bubblewrap the limits and the examiner's process are tested all the same
LIMITS = Limits(cell=6, total=90, memory=5 * 2**28, processes=12, output=2**20)
HINTS = "".join(f"<details><summary>Hint {k}</summary>h</details>\n" for k in (1, 2, 3))
HEAD = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# Exercises

```{code-cell} ipython3
import torch
from course_lib import checks

score = checks.Score({"twice": 2, "half": 1, "slope": 3})
counted = [0]
```
"""
EXERCISE = """
Do this.

%s
```{code-cell} ipython3
---
exercise: %s
minutes: 5
---
def %s(%s):
    ### BEGIN SOLUTION
    %s
    ### END SOLUTION
```

```{code-cell} ipython3
---
check: %s
points: %d
---
with score.check("%s"):
%s
```
"""
WRONG = """
```{code-cell} ipython3
---
wrong: %s
says: x
---
%s = None
```
"""
ANOTHER = """
```{code-cell} ipython3
---
right: %s
---
%s = ...
```
"""
CHECKS = {
    "twice": """    checks.close(twice(torch.tensor([2.0, 0.5])), torch.tensor([4.0, 1.0]), what="two numbers")
    ### BEGIN HIDDEN TESTS
    checks.close(twice(torch.tensor([-3.0])), torch.tensor([-6.0]), what="the secret number")
    ### END HIDDEN TESTS""",
    "half": """    def field(x):
        counted[0] += 1
        return x
    checks.close(half(field, 3.0), 1.5, what="the field halved")
    checks.holds(counted[0] == 1, passed="one call", failed=f"{counted[0]} calls of the field")""",
    "slope": """    x = torch.tensor([0.3, 1.2], dtype=torch.float64, requires_grad=True)
    slope(x).backward()
    checks.close(x.grad, x.detach().cos(), what="the gradient of the sum of sines")""",
}
RIGHT = {"twice": "return 2 * x", "half": "counted[0] = 7; return f(x) / 2", "slope": "return x.sin().sum()"}
ARGUMENTS = {"twice": "x", "half": "f, x", "slope": "x"}
POINTS = {"twice": 2, "half": 1, "slope": 3}


def master() -> str:
    """The text of the assignment's master."""
    parts = [HEAD]
    for name, points in POINTS.items():
        parts.append(EXERCISE % (HINTS, name, name, ARGUMENTS[name], RIGHT[name], name, points, name, CHECKS[name]))
        parts += [WRONG % (name, name)] * 2 + [ANOTHER % (name, name)] * 2
    return "".join(parts)


def write_source(folder: Path, name: str = "tiny") -> Path:
    """The instructor's notebook of the assignment; its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text(master(), encoding="utf-8")
    nbformat.write(masters.notebook(masters.read(path), student=False), folder / f"{name}.ipynb")
    return folder


def assignment(folder: Path) -> Assignment:
    return read(write_source(folder) / "tiny.ipynb")


def notebook(folder: Path, answers: dict[str, str], *before: str, after: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    """The student's notebook with some blanks filled in, and cells of the student's own before and after them."""
    nb = masters.notebook(masters.read(folder / "tiny.md"), student=True)
    for cell in nb.cells:
        if cell.id in answers:
            cell.source = f"def {cell.id}({ARGUMENTS[cell.id]}):\n    {answers[cell.id]}"
    own = [nbformat.v4.new_code_cell(text) for text in before]
    nb.cells = [*nb.cells[:2], *own, *nb.cells[2:], *map(nbformat.v4.new_code_cell, after)]
    return nb


@cache
def kind() -> Cold | Warm:
    """What starts the students' processes, once for all tests of a worker."""
    return best([], [], unsafe=not WALLS)


def marked(nb: nbformat.NotebookNode, source: Assignment, scratch: Path, limits: Limits = LIMITS) -> dict[str, str]:
    """What the check of each exercise said, empty where it passed; the notebook goes through a file as in a class."""
    path = scratch / "handed in.ipynb"
    nbformat.write(nb, path)
    found = load(path)
    assert recognise(found, {"tiny": source}, None) is source
    found, _ = restore(found, source)
    examination = Examination(source, limits, scratch, kind())
    try:
        return {name: failed for name, (_, failed) in examine(found, examination).items()}
    finally:
        examination.stop()
