"""Every built page in a real browser: WCAG 2.1 AA in both modes and on a phone, no error, nothing from outside, nothing
sideways at 320 px, nothing that moves unasked; the search, the keyboard and the widgets used; what a chapter weighs,
when it is drawn and how much it shifts.

Node drives an installed Chromium (tests/browser/check.mjs). Where Chromium, node or the npm packages are missing, the
tests are skipped and say what to install; in CI, and with COURSE_BROWSER=required, that is a failure instead.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
FOLDER = ROOT / "tests" / "browser"
PACKAGES = FOLDER / "node_modules" / "axe-core", FOLDER / "node_modules" / "playwright-core"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
REQUIRED = os.environ.get("COURSE_BROWSER") == "required" or os.environ.get("CI", "").lower() in ("1", "true")
FIRST, NEXT = 1_500_000, 400_000  # bytes over the wire: with an empty cache, and coming from another chapter
PAINT, SHIFT = 1500, 0.1  # milliseconds to the largest paint on a processor four times slower; the web's layout shift


def missing(what: str) -> None:
    told = f"pages are not opened in a browser: {what}"
    if REQUIRED:
        pytest.fail(told)
    pytest.skip(told)


@pytest.fixture(scope="module")
def browser() -> str:
    """The Chromium to drive, with the npm packages in place."""
    chromium = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        missing("install Chromium, or name one: CHROMIUM=/path/to/chromium")
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout if node else ""
    if not version or int(version.lstrip("v").split(".")[0]) < 20:
        missing("install node 20 or newer")
    with FileLock(FOLDER / ".lock"):  # one worker installs, the other waits
        if not all(path.exists() for path in PACKAGES):
            if (npm := shutil.which("npm")) is None:
                missing("install npm")
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            try:
                run = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=300)
            except subprocess.TimeoutExpired:
                missing("`npm ci` in tests/browser did not end within five minutes")
            if run.returncode:
                missing(f"`npm ci` in tests/browser failed: {(run.stderr.splitlines() or ['no message'])[0]}")
    return chromium


def check(folder: Path, browser: str, seconds: float) -> dict:
    command = ["node", str(FOLDER / "check.mjs"), str(folder), browser]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_every_page_is_sound_in_a_browser_and_no_chapter_is_heavy(browser):
    if not (HTML / "index.html").exists():
        pytest.skip("the book is not built (`make book`); `make test` builds it first")
    book = check(HTML, browser, seconds=900)
    assert book["pages"] > 25 and len(book["widgets"]) >= 4 and len(book["weights"]) >= 6
    assert not book["faults"], "\n".join(book["faults"])
    assert not {page: w for page, w in book["weights"].items() if w["first"] > FIRST or w["next"] > NEXT}
    assert len(book["paints"]) >= 6
    assert not {page: p for page, p in book["paints"].items() if not 0 < p["paint"] < PAINT or p["shift"] > SHIFT}
    # Sections that are laid out late: the page's height is known before, and a link leads where it should.
    places = book["places"]
    assert not {page: p for page, p in places.items() if not 0.85 < p["before"] / p["after"] < 1.15}
    assert not {page: p for page, p in places.items() if not -20 < p["away"] < 200}


SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
TOLD = [
    "light, color-contrast", "dark, color-contrast, 2", "image-alt", "heading of level 3 after level 1",
    "moves sideways", "stands out", "moves though no motion is wanted", "cannot be reached by keyboard",
    "picture missing", "asks another host: http://outside.example/x.js", "console: said aloud",
    "script: undefinedName is not defined",
    "course-dead: dragging its first slider changes nothing", "course-dead: an arrow key on its first slider",
    "course-dead: a number typed changes nothing", "course-dead: its slider does not follow",
    "course-dead: a picture has no name", "course-dead: no picture without scripts", "course-lost: stands on no page",
    "Tab does not lead to the way on",
]  # fmt: skip


SLOW = """<!DOCTYPE html><html lang="en"><title>Slow</title><body><script>const end = performance.now() + 1700;
while (performance.now() < end);</script><h1>A page</h1><p style="font: 12rem serif">Words</p><script>
setTimeout(() => { document.querySelector("h1").style.marginTop = "300px"; }, 300);</script>"""


def test_a_late_paint_and_a_shift_are_measured(browser, tmp_path):
    """A page in the place of a chapter that works before it is drawn, and then moves its text down."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book/ch1_slow.html").write_text(SLOW, encoding="utf-8")
    paints = check(tmp_path, browser, seconds=120)["paints"]["book/ch1_slow.html"]
    assert paints["paint"] > PAINT and paints["shift"] > SHIFT


def test_the_check_tells_each_seeded_fault(browser, tmp_path):
    shutil.copy(FOLDER / "seeded.html", tmp_path / "index.html")
    (tmp_path / "dot.svg").write_text(SVG, encoding="utf-8")
    (tmp_path / "_static/widgets").mkdir(parents=True)
    (tmp_path / "_static/widgets/lost.js").touch()
    said = "\n".join(check(tmp_path, browser, seconds=120)["faults"])
    assert not [fault for fault in TOLD if fault not in said], said
    assert "(localhost, desktop)" in said and "(disk, phone)" in said
