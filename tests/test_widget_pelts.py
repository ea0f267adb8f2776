"""The widget's numerics, run in node, against the library; its data."""

import json

import pytest
import torch
from widget_tools import run_in_node

from course_lib.data import pelts
from course_lib.dynamics import LotkaVolterra
from course_lib.fitting import integrate

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
    script = SCRIPT.format(cases=json.dumps(CASES))
    return run_in_node("pelts", script, tmp_path_factory.mktemp("widget"))


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
