"""The widget's numerics, run in node, against the library."""

import json

import pytest
import torch
from widget_tools import run_in_node

from course_lib import stability
from course_lib.stability import amplification_matrix, orbit, spectral_radius

CASES = [(a, b, h) for a in (0.0, -0.3, 0.4) for b in (0.0, 0.7, 1.0) for h in (0.05, 0.5, 1.9, 2.0, 2.1)]
SCRIPT = """
import {{ METHODS, amplification, spectralRadius, orbit, verdict }} from {module};
const out = [];
for (const [a, b, h] of {cases}) for (const method of METHODS) {{
  const M = amplification(method, a, b, h);
  const radius = M && spectralRadius(M);
  out.push(M && {{ method, a, b, h, M, radius, path: orbit(M, [1, 0.4], 20), words: verdict(M, radius) }});
}}
console.log(JSON.stringify(out));
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    script = SCRIPT.format(module=json.dumps("./integrators.mjs"), cases=json.dumps(CASES))
    return run_in_node("integrators", script, tmp_path_factory.mktemp("widget"))


def matrix(a, b):
    return a * torch.eye(2, dtype=torch.float64) + b * stability.matrix("imaginary")


def test_matrices_radii_and_orbits_are_the_librarys(results):
    seen = set()
    for r in filter(None, results):
        M = amplification_matrix(r["method"], matrix(r["a"], r["b"]), r["h"])
        assert torch.allclose(torch.tensor(r["M"], dtype=torch.float64).reshape(2, 2), M, rtol=1e-6, atol=1e-6), r
        assert r["radius"] == pytest.approx(float(spectral_radius(M)), abs=1e-6), r
        path = orbit(M, torch.tensor([1.0, 0.4], dtype=torch.float64), 20)
        assert torch.allclose(torch.tensor(r["path"], dtype=torch.float64), path, rtol=1e-6, atol=1e-6), r
        seen.add(r["method"])
    assert seen == {"euler", "backward_euler", "trapezoid", "verlet"}
    assert sum(r is None for r in results) == 30  # Verlet wherever the real part is not zero


def test_words_know_the_defective_step(results):
    words = {(r["method"], r["h"]): r["words"] for r in results if r and (r["a"], r["b"]) == (0, 1)}
    assert words["verlet", 1.9] == words["trapezoid", 2.1] == "neither grows nor decays"
    assert words["verlet", 2.0] == "grows linearly"
    assert words["verlet", 2.1] == words["euler", 0.05] == "grows" and words["backward_euler", 0.5] == "decays"
