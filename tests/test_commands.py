"""The README's commands: what they list, and the one line they say when something is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from course_lib.authoring import gate

ROOT = Path(__file__).resolve().parents[1]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed here")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)


@needs_make
def test_help_lists_every_command_the_readme_names():
    listed = {line.split()[0] for line in make(ROOT, "help").stdout.splitlines()}
    named = set(re.findall(r"make ([a-z]+)\b", (ROOT / "README.md").read_text("utf-8"))) - {"and"}
    assert {"book", "test", "serve", "clean", "lint", "exercises", "help", "doctor"} <= listed
    assert named <= listed, f"README names {named - listed}, which make does not know"


@needs_make
@pytest.mark.parametrize("target", ["book", "test"])
def test_without_python_one_line_says_so(tmp_path, target):
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    result = make(tmp_path, target, "PYTHON=no-such-python")
    said = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert result.returncode != 0 and len(said) == 1
    assert said[0].startswith("Python 3.11, 3.12 or 3.13 is missing: ")
    assert not (tmp_path / ".venv").exists()


def test_the_gate_runs_what_it_is_told_and_ends_with_what_failed(tmp_path, monkeypatch, capfd):
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    good, bad = [*gate.PYTHON, "this"], [*gate.PYTHON, "no_such_module"]
    monkeypatch.setattr(gate, "STEPS", {"fine": ("works", good), "broken": ("does not", bad), "also": ("works", good)})
    assert gate.main(["fine"]) == 0
    assert gate.main([]) == 1
    said = capfd.readouterr().out.splitlines()
    assert said[-1] == "2 passed, 1 failed" and said[-2].startswith("failed: broken (does not)")


def test_the_gate_refuses_an_unknown_step_and_a_strange_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, said in ((["nonsense"], "no step 'nonsense'"), ([], "is not the course's repository")):
        with pytest.raises(SystemExit):
            gate.main(arguments)
        assert said in capsys.readouterr().err


def test_every_dependency_is_pinned_to_one_version():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in pins)
    names = [line.split("==")[0].lower().replace("_", "-") for line in pins]
    assert len(names) == len(set(names))
    assert {"torch==2.13.0", "torchdiffeq==0.2.5"} <= set(pins)
