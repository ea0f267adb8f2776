"""``CheckFailed``, the one error of a self-check, and ``Score``, which keeps the marks of a notebook."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap

LIBRARY = str(Path(__file__).resolve().parents[1])
WIDTH = 88
INSTALLED = tuple({sysconfig.get_path(key) for key in ("stdlib", "purelib", "platlib")})


def folded(text: str) -> list[str]:
    """A text in lines that fit a notebook: JupyterLab would break a longer one within a word."""
    return [part for line in text.splitlines() for part in wrap(line, WIDTH)]


class CheckFailed(AssertionError):
    """An answer does not do what its exercise asks; the message says what, in the terms of the problem."""

    def _render_traceback_(self) -> list[str]:
        # IPython shows these lines in place of a traceback, whose frames would all be the check's own.
        return folded(f"Not yet: {self}")


def explain(error: Exception) -> str:
    """One line for an exception: its kind, its message, and the last line of the answer or else that of the check."""
    text = " ".join(str(error).split())[:200]
    if hasattr(error, "place"):  # it comes from another process, where a notebook is marked
        return f"your code stopped with {error.kind}: {text}{error.place}"
    kind, frames = type(error).__name__, traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((LIBRARY, *INSTALLED))]
    answers = [f for f in own if f.filename != own[0].filename]  # a cell is a file, and the first is the check's
    if not answers:
        line = f", in the check's line: {own[-1].line}" if own and own[-1].line else ""
        return f"what your code returned does not fit: {kind}: {text}{line}"
    last = answers[-1]
    place = f", near line {last.lineno} of {last.name}: {last.line}" if last.line else ""
    return f"your code stopped with {kind}: {text}{place}"


class Score:
    """Marks of one notebook, by exercise.

    Parameters
    ----------
    points
        The marks that each exercise is worth, by its name.
    """

    def __init__(self, points: Mapping[str, int]) -> None:
        self.points = dict(points)
        self.earned = dict.fromkeys(points, 0)

    @contextmanager
    def check(self, exercise: str) -> Iterator[None]:
        """Run the checks of an exercise; the marks are given if all of them pass, and taken back if one fails.

        Raises
        ------
        CheckFailed
            From the first check that fails, or in place of any error in the student's code.
        NotImplementedError
            The same that was raised: it marks a blank that is still to be filled.
        """
        if exercise not in self.points:
            raise ValueError(f"exercise: {exercise!r} is not one of {', '.join(self.points)}.")
        self.earned[exercise] = 0
        try:
            yield
        except CheckFailed:
            raise
        except NotImplementedError as error:
            said = folded(f"Not answered yet: {error}")
            error._render_traceback_ = lambda: said  # as CheckFailed's
            raise
        except Exception as error:
            raise CheckFailed(explain(error)) from None
        self.earned[exercise] = self.points[exercise]
        marks = self.points[exercise]
        print(f"{exercise}, {marks} mark{'s' if marks != 1 else ''}: these checks passed")

    def summary(self) -> None:
        """Print the marks so far, exercise by exercise."""
        width = max(map(len, self.points))
        for exercise, points in self.points.items():
            print(f"{exercise:<{width}}  {self.earned[exercise]:2d} of {points:2d}")
        print(f"{'marks so far':<{width}}  {sum(self.earned.values()):2d} of {sum(self.points.values()):2d}")
