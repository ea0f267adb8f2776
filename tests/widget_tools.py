"""What the tests of all widgets share: where they lie, and how one runs in node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

WIDGETS = Path(__file__).resolve().parents[1] / "book/_static/widgets"


def run_in_node(name: str, script: str, folder: Path):
    """What a script prints as JSON; it imports the widget as ``./NAME.mjs``. Skips where there is no node."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed: the widget's numerics are not compared")
    shutil.copy(WIDGETS / f"{name}.js", folder / f"{name}.mjs")
    (folder / "run.mjs").write_text(script, encoding="utf-8")
    run = subprocess.run(["node", "run.mjs"], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)
