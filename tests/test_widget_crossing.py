"""The widget's numerics, run in node, against the library; what it says."""

import json
import math
from itertools import product

import pytest
import torch
from torch.nn.functional import smooth_l1_loss
from widget_tools import run_in_node

from course_lib.integrators import dopri5, solve

CASES = [{"a": a, "b": b, "c": -6.0 * b, "w": w} for a, b, w in product((-8.0, -2.0, 3.0), (0.0, 0.7), (0.0, math.pi))]
VIEWS = [(0.0, 0.0), (0.7, -0.4), (-2.0, 1.1)]
SCRIPT = """
import {{ STEPS, path, loss, meeting, project }} from "./crossing.mjs";
const out = {{ runs: [], views: [] }};
for (const p of {cases}) for (const z of [[], [0]]) {{
  const paths = [path(p, [1, ...z]), path(p, [-1, ...z])];
  out.runs.push({{ p, size: 1 + z.length, steps: STEPS, paths, loss: loss(paths), meeting: meeting(paths) }});
}}
for (const v of {views}) out.views.push(project([0.25, 0.8, -0.6], ...v));
console.log(JSON.stringify(out));
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    script = SCRIPT.format(cases=json.dumps(CASES), views=json.dumps(VIEWS))
    return run_in_node("crossing", script, tmp_path_factory.mktemp("widget"))


def field(p):
    def f(t, s):
        own = p["a"] * torch.tanh(2 * s[..., :1]) + p["b"] + p["c"] * torch.sin(2 * math.pi * t)
        return own if s.shape[-1] == 1 else torch.cat((own - p["w"] * s[..., 1:], p["w"] * s[..., :1]), -1)

    return f


def starts(size):
    x = torch.zeros(2, size, dtype=torch.float64)
    x[:, 0] = torch.tensor([1.0, -1.0])
    return x


def test_paths_and_losses_are_the_librarys(results):
    for r in results["runs"]:
        t = torch.linspace(0, 1, r["steps"] + 1, dtype=torch.float64)
        path = solve(field(r["p"]), starts(r["size"]), t, method="rk4")
        found = torch.tensor(r["paths"], dtype=torch.float64).transpose(0, 1)
        assert torch.allclose(found, path, rtol=0, atol=1e-6)
        assert r["loss"] == pytest.approx(float(smooth_l1_loss(path[-1, :, :1], -starts(1))), abs=1e-6)
        gap = path[:, 0] - path[:, 1]
        assert r["meeting"]["nearest"] == pytest.approx(float(gap.norm(dim=-1).min()), abs=1e-6)
        assert (r["meeting"]["when"] is None) == bool((gap[:, 0] > 0).all())


def test_the_widget_draws_the_equation_and_not_its_step_size(results):
    for r in results["runs"]:
        exact = dopri5(field(r["p"]), starts(r["size"]), [0.0, 1.0], rtol=1e-10, atol=1e-10, max_steps=10_000).x[-1]
        last = torch.tensor([states[-1] for states in r["paths"]], dtype=torch.float64)
        assert torch.allclose(last, exact, atol=1e-4)


def test_on_the_line_order_is_kept_and_the_loss_stays_above_one_half(results):
    line = [r for r in results["runs"] if r["size"] == 1]
    assert all(r["meeting"]["when"] is None and r["loss"] > 0.5 for r in line)
    turn = next(r for r in results["runs"] if r["size"] == 2 and list(r["p"].values()) == [-2.0, 0.0, 0.0, math.pi])
    assert turn["meeting"]["when"] is not None and turn["loss"] < 0.5 and turn["meeting"]["nearest"] > 0


def test_the_projection_is_a_rotation_seen_from_the_front(results):
    point = torch.tensor([2 * (0.25 - 0.5), 0.8, -0.6], dtype=torch.float64)  # time is drawn from -1 to 1
    for (azimuth, elevation), seen in zip(VIEWS, results["views"], strict=True):
        c, s = math.cos(azimuth), math.sin(azimuth)
        about = torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]], dtype=torch.float64)
        c, s = math.cos(elevation), math.sin(elevation)
        tilt = torch.tensor([[1, 0, 0], [0, c, s], [0, -s, c]], dtype=torch.float64)
        assert seen == pytest.approx((tilt @ about @ point)[:2].tolist(), abs=1e-6)
