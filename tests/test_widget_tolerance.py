"""The tolerance widget's numerics, run in node, against the library's dopri5."""

import json

import pytest
import torch
from widget_tools import run_in_node

from course_lib.dynamics import CubicSpiral, LotkaVolterra, Oscillator
from course_lib.integrators import dopri5
from course_lib.integrators.dopri5 import E, combine, stages
from course_lib.integrators.step_control import STRETCH, error_ratio, first_step, next_step, rms

TOLERANCES = [1e-1, 1e-2, 1e-4, 1e-6]


def van_der_pol(t, x):
    q, p = x.unbind(-1)
    return torch.stack((p, 8 * (1 - q * q) * p - q), -1)


def kinked(t, x):
    q, p = x.unbind(-1)
    return torch.stack((p, 1 - 6 * q.clamp(min=0)), -1)


FIELDS = {
    "oscillator": (Oscillator(), (1.0, 0.0), 12.0),
    "lotka_volterra": (LotkaVolterra(1.5, 1.0, 3.0, 1.0), (1.0, 1.0), 10.0),
    "cubic_spiral": (CubicSpiral(), (2.0, 0.0), 12.0),
    "van_der_pol": (van_der_pol, (2.0, 0.0), 24.0),
    "kinked": (kinked, (-0.5, 0.0), 12.0),
}
SCRIPT = """
import {{ FIELDS, dopri5, sweep }} from "./tolerance.mjs";
const out = {{ names: Object.keys(FIELDS), runs: [], sweeps: {{}} }};
for (const [name, {{ f, x0, T }}] of Object.entries(FIELDS)) {{
  for (const tol of {tolerances}) out.runs.push({{ name, tol, T, ...dopri5(f, x0, T, tol) }});
  out.sweeps[name] = sweep(name, {tolerances});
}}
out.stopped = dopri5((t, [x]) => [x * x], [1], 2, 1e-6);
console.log(JSON.stringify(out));
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    script = SCRIPT.format(tolerances=json.dumps(TOLERANCES))
    return run_in_node("tolerance", script, tmp_path_factory.mktemp("widget"))


def reference(name, tol):
    f, x0, T = FIELDS[name]
    return dopri5(f, torch.tensor(x0, dtype=torch.float64), [0.0, T], rtol=tol, atol=tol, max_steps=20_000)


def test_every_step_is_the_librarys(results):
    """From the widget's own state, time and size: the same new state, error and next size."""
    assert results["names"] == list(FIELDS) and len(results["runs"]) == len(FIELDS) * len(TOLERANCES)
    for r in results["runs"]:
        f, (x0, T), tol = FIELDS[r["name"]][0], FIELDS[r["name"]][1:], r["tol"]
        path = [torch.tensor(x, dtype=torch.float64) for x in r["path"]]
        taken, where = 0, (r["name"], tol)
        assert torch.equal(path[0], torch.tensor(x0, dtype=torch.float64)) and r["T"] == T
        first = first_step(f, 0.0, path[0], f(0.0, path[0]), T, tol, tol, rms)
        assert r["steps"][0]["h"] == pytest.approx(min(first, T), rel=1e-9), where
        for step, after in zip(r["steps"], [*r["steps"][1:], None], strict=True):
            x = path[taken]
            y, k = stages(f, step["t"], x, step["h"], f(step["t"], x))
            error = error_ratio(combine(None, step["h"], E, k), x, y, tol, tol, rms)
            assert step["error"] == pytest.approx(error, rel=1e-6, abs=1e-6), where
            assert step["accepted"] == (step["error"] <= 1), where
            taken += step["accepted"]
            assert torch.allclose(path[taken], y if step["accepted"] else x, rtol=1e-6, atol=1e-6), where
            if after is not None:
                left, h = T - after["t"], next_step(step["h"], step["error"], 1.0)
                assert after["h"] == pytest.approx(left if left <= STRETCH * h else h, rel=1e-6), where
        assert after is None and r["path"][-1] == r["x"] and len(path) == taken + 1 == r["accepted"] + 1
        assert (r["nfe"], r["rejected"]) == (2 + 6 * len(r["steps"]), len(r["steps"]) - taken)


def test_whole_solves_and_sweeps_are_the_librarys(results):
    """On the two fields where no step hangs on the last bit of an error ratio."""
    runs = {(r["name"], r["tol"]): r for r in results["runs"]}
    for name in ("oscillator", "lotka_volterra"):
        exact = reference(name, 1e-11).x[-1]
        for tol, row in zip(TOLERANCES, results["sweeps"][name], strict=True):
            s, r = reference(name, tol), runs[name, tol]
            assert (r["nfe"], r["accepted"], r["rejected"]) == (s.nfe, s.accepted, s.rejected)
            assert torch.allclose(torch.tensor(r["x"], dtype=torch.float64), s.x[-1], rtol=1e-6, atol=1e-6)
            assert (row["tol"], row["nfe"]) == (tol, s.nfe)
            assert row["error"] == pytest.approx(float((s.x[-1] - exact).abs().max()), rel=1e-6, abs=1e-6)


def test_a_solution_that_ends_is_no_solution(results):
    assert results["stopped"] is None
