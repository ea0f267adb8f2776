"""Every built page in a real browser: WCAG 2.1 AA, no error, nothing from outside, nothing sideways at 320 px, search.

The pages of the book are opened where COURSE_BROWSER is set; the check itself is tested on seeded faults everywhere.
Node drives an installed Chromium (tests/browser/check.mjs). Where Chromium, node or the npm packages are missing, the
tests are skipped and say what to install; with COURSE_BROWSER=required in the environment that is a failure instead.
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


def missing(what: str) -> None:
    told = f"pages are not opened in a browser: {what}"
    if os.environ.get("COURSE_BROWSER") == "required":
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
            run = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
            if run.returncode:
                missing(f"`npm ci` in tests/browser failed: {(run.stderr.splitlines() or ['no message'])[0]}")
    return chromium


def check(folder: Path, browser: str, seconds: float) -> dict:
    command = ["node", str(FOLDER / "check.mjs"), str(folder), browser]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_every_page_is_sound_in_a_browser(browser):
    if not os.environ.get("COURSE_BROWSER"):
        pytest.skip("pages are not opened in a browser: set COURSE_BROWSER=1 to open them")
    if not (HTML / "index.html").exists():
        pytest.skip("the book is not built (`make book`); `make test` builds it first")
    result = check(HTML, browser, seconds=900)
    assert result["pages"] > 5
    assert not result["faults"], "\n".join(result["faults"])


SEEDED = """<!doctype html><html lang="en"><head><title>A page</title></head><body><main>
<h1>A page</h1><h3>After a gap</h3><article><p style="color: #aaa; background: #fff">Faint words.</p><img src="dot.svg">
<div style="width: 700px">A wide box</div></article></main>
<script src="http://outside.example/x.js"></script><script>console.error("said aloud"); undefinedName;</script>
</body></html>"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
TOLD = [
    "color-contrast", "image-alt", "heading of level 3 after level 1", "moves sideways", "stands out",
    "asks another host: http://outside.example/x.js", "console: said aloud", "script: undefinedName is not defined",
]  # fmt: skip


def test_the_check_tells_each_seeded_fault(browser, tmp_path):
    (tmp_path / "index.html").write_text(SEEDED, encoding="utf-8")
    (tmp_path / "dot.svg").write_text(SVG, encoding="utf-8")
    said = "\n".join(check(tmp_path, browser, seconds=120)["faults"])
    assert not [fault for fault in TOLD if fault not in said], said
    assert "(localhost, desktop)" in said and "(disk, phone)" in said
