"""``python -m course_lib doctor`` finds what is wrong, one line each, and never crashes on it."""

from __future__ import annotations

import shutil
import sys
from types import SimpleNamespace

import pytest

from course_lib import doctor
from course_lib.__main__ import main


def lines(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_here_everything_is_fine(capsys):
    assert main(["doctor"]) == 0
    shown = lines(capsys)
    assert shown[-1] == "Everything the course needs is here."
    assert all(line.startswith("ok ") for line in shown[:-1])


def mends(check) -> list[str]:
    return [mend for fine, _, mend in check() if not fine]


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert mends(doctor.python) == ["use Python 3.11, 3.12 or 3.13"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("no_such_package",))
    assert mends(doctor.packages) == [doctor.REINSTALL]


def test_another_version_than_the_locked_one_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "pins", lambda: {"torch": "1.0"})
    assert mends(doctor.packages) == ["the course was checked with 1.0: pip install torch==1.0"]


def test_a_data_folder_that_is_none_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "nowhere"))
    assert mends(doctor.data) == ["that is no folder: create it or unset COURSE_DATA"]


def test_a_full_disk_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    assert any("at least 1 GiB" in mend for mend in mends(doctor.disk))


def test_one_fault_makes_the_command_fail(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "PACKAGES", ("no_such_package",))
    assert main(["doctor"]) == 1
    assert any(line.startswith("MEND") for line in lines(capsys))


def test_the_command_line_says_what_it_knows(capsys):
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "doctor" in capsys.readouterr().err


def test_the_doctor_speaks_where_torch_does_not_import_and_the_rest_points_to_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "course_lib.recipes.cli", raising=False)
    assert main(["doctor"]) == 1
    assert any(line.startswith("MEND  torch") for line in lines(capsys))
    with pytest.raises(SystemExit) as stopped:
        main(["list"])
    said = capsys.readouterr().err
    assert stopped.value.code == 1 and said.count("\n") == 1 and "doctor" in said
