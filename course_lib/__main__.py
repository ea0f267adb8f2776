"""The command line: ``python -m course_lib doctor | list | run NAME``."""

from __future__ import annotations

import argparse
import sys

from . import __version__


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m course_lib", description="The course's commands.")
    parser.add_argument("--version", action="version", version=f"course_lib {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="say what is wrong with this environment, with the mend")
    options = parser.parse_args(argv)

    from .doctor import main as doctor

    return {"doctor": doctor}[options.command]()


if __name__ == "__main__":
    sys.exit(main())
