"""The widget's numerics, run in node, against the library; its data, its size and what it may not contain."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from course_lib.data import pelts
from course_lib.dynamics import LotkaVolterra
from course_lib.fitting import integrate

WIDGET = Path(__file__).resolve().parents[1] / "book/_static/widgets/pelts.js"
NAMES = ("alpha", "beta", "gamma", "delta")
CASES = [
    (0.5402, 0.0272, 0.7964, 0.0237),
    (0.7, 0.0272, 0.7964, 0.0237),
    (0.5402, 0.04, 0.5, 0.0237),
    (0.3, 0.015, 1.2, 0.04),
]
SCRIPT = """
import {{ FIT, HARE, LYNX, START, path, rmse }} from "./pelts.mjs";
const cases = {cases}.map(([alpha, beta, gamma, delta]) => ({{ alpha, beta, gamma, delta }}));
console.log(JSON.stringify({{
  FIT, HARE, LYNX, START, paths: cases.map((c) => path(c)), between: path(FIT, START, 10),
  errors: cases.map((c) => rmse(c)),
}}));
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    if shutil.which("node") is None:
        pytest.skip("node is not installed: the widget's numerics are not compared")
    folder = tmp_path_factory.mktemp("widget")
    shutil.copy(WIDGET, folder / "pelts.mjs")
    (folder / "run.mjs").write_text(SCRIPT.format(cases=json.dumps(CASES)), encoding="utf-8")
    run = subprocess.run(["node", "run.mjs"], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_data_are_the_librarys(results):
    assert results["HARE"] == pelts().hare.tolist() and results["LYNX"] == pelts().lynx.tolist()


@pytest.mark.parametrize("k", range(len(CASES)))
def test_paths_and_errors_are_the_librarys(results, k):
    start = torch.tensor(results["START"], dtype=torch.float64)
    x = integrate(LotkaVolterra(*CASES[k]), start, pelts().t, rtol=1e-10, atol=1e-10)
    found = torch.tensor(results["paths"][k], dtype=torch.float64)
    assert torch.allclose(found.log(), x.log(), rtol=0, atol=1e-6)
    error = (x.log() - pelts().counts.log()).square().mean().sqrt().item()
    assert results["errors"][k] == pytest.approx(error, abs=1e-6)


def test_the_curve_between_the_years_goes_through_them(results):
    assert len(results["between"]) == 201 and results["between"][::10] == results["paths"][0]


def test_the_fit_is_a_minimum_of_what_is_shown(results):
    assert tuple(results["FIT"][name] for name in NAMES) == CASES[0]
    assert results["errors"][0] == pytest.approx(0.2192, abs=2e-4) and min(results["errors"][1:]) > results["errors"][0]


def test_small_and_on_its_own():
    source = WIDGET.read_text("utf-8")
    assert len(source.encode()) < 30_000
    assert not re.search(r"https?:|\bimport\b|fetch\(|XMLHttp", source)
    assert "</script" not in source
    assert "aria-live" in source and "<label>" in source
