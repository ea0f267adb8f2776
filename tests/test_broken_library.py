"""The net is fine enough: break Euler's sign, and a unit test, a notebook and a claim each notice.

A copy of the library with the fault stands in front of the installed one, in processes of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN_CELLS = """
import sys, jupytext
namespace = {}
for cell in jupytext.read(sys.argv[1]).cells:
    if cell.cell_type == "code" and "wrong" not in cell.metadata:
        exec(cell.source, namespace)
"""
WATCHERS = {
    "unit test": (["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/test_integrators.py"], "failed"),
    "notebook": (["-c", RUN_CELLS, "solutions/ch1_euler.md"], "CheckFailed"),
    "claim": (["-c", RUN_CELLS, "book/ch1_euler.md"], "ClaimError"),
}


@pytest.mark.parametrize("watcher", WATCHERS)
def test_a_wrong_sign_in_euler_is_noticed(watcher, tmp_path):
    library = tmp_path / "course_lib"
    shutil.copytree(ROOT / "course_lib", library, ignore=shutil.ignore_patterns("__pycache__"))
    explicit = library / "integrators" / "explicit.py"
    source = explicit.read_text("utf-8")
    broken = source.replace("return x + h * f(t, x)", "return x - h * f(t, x)")
    assert broken != source
    explicit.write_text(broken, encoding="utf-8")
    command, said = WATCHERS[watcher]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "MPLBACKEND": "agg"}
    # -P: the repository, where this runs, does not come before the copy.
    result = subprocess.run([sys.executable, "-P", *command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode != 0, f"no {watcher} noticed"
    assert said in result.stdout + result.stderr
