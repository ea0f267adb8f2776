"""Build the book strictly: ``python -m course_lib.authoring.build [ROOT]``. Warnings are errors, broken links too."""

from __future__ import annotations

import sys

from jupyter_book.cli.main import main as jupyter_book

# -W: a warning fails the build; -n: so does a reference to nothing; --keep-going: show all of them first.
STRICT = ("build", "-W", "-n", "--keep-going")

if __name__ == "__main__":
    jupyter_book([*STRICT, *(sys.argv[1:] or ["."])])
