"""The command line: ``python -m course_lib doctor | list | run NAME | record NAME | data NAME``."""

from __future__ import annotations

import argparse
import sys

from . import __version__
from .doctor import main as doctor


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, run the command and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m course_lib", description="The course's commands.")
    parser.add_argument("--version", action="version", version=f"course_lib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    examine = commands.add_parser("doctor", help="say what is wrong with this environment, with the mend")
    examine.set_defaults(command_function=lambda arguments: doctor())
    if argv[:1] != ["doctor"]:
        # The doctor must be able to speak where torch does not import; the other commands need it.
        try:
            from .recipes.cli import add_commands
        except (ImportError, OSError) as error:
            parser.exit(1, f"course_lib cannot start ({error}); `python -m course_lib doctor` says what to mend.\n")
        add_commands(commands)
    arguments = parser.parse_args(argv)
    return arguments.command_function(arguments)


if __name__ == "__main__":
    sys.exit(main())
