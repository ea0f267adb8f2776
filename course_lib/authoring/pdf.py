"""The whole book as one PDF, out of the built pages: ``python -m course_lib.authoring.pdf`` (``make pdf``).

Chromium prints the page that `paper` makes: with an outline from the headings, tags for screen readers, links within
the book, and page numbers from the style sheet. Nothing is executed and nothing is fetched.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .paper import book

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 1800


def chromium() -> str | None:
    """The browser that prints: that of the environment variable CHROMIUM, or the first that is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def print_page(page: Path, target: Path, browser: str) -> None:
    """Print an HTML file as PDF. Raises RuntimeError with what the browser said if it wrote none."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--disable-gpu", f"--user-data-dir={profile}", "--no-first-run"]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--timeout={1000 * SECONDS}"]
        command += ["--no-pdf-header-footer", "--generate-pdf-document-outline"]
        command += [f"--print-to-pdf={target}", page.as_uri()]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        target.unlink(missing_ok=True)
        run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if not target.exists():
        said = run.stderr.strip().splitlines()
        raise RuntimeError(f"{browser} printed nothing: {said[-1] if said else f'it ended with {run.returncode}'}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m course_lib.authoring.pdf", description=__doc__)
    parser.parse_args(argv)
    root = Path.cwd()
    if not (root / "_build/html/index.html").exists():
        parser.exit(1, "the book is not built here: make book\n")
    browser = chromium()
    if browser is None:
        parser.exit(1, "Chromium is missing: install it, or name one: make pdf CHROMIUM=/path/to/chromium\n")
    folder = root / "_build" / "pdf"
    folder.mkdir(exist_ok=True)
    page, target = folder / "book.html", folder / "book.pdf"
    try:
        page.write_text(book(root), encoding="utf-8")
        print_page(page, target, browser)
    except (ValueError, RuntimeError, subprocess.TimeoutExpired) as error:
        parser.exit(1, f"{error}\n")
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
