"""The benchmarks' common part, and their results: each file says where it comes from and how far its rounds spread."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest
import torch
from torchdiffeq import odeint

from course_lib import plots
from course_lib.neural_ode import MLPField, NeuralODE
from course_lib.recipes.conv_blocks import ConvField

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
sys.path.insert(0, str(FOLDER))

import bench  # noqa: E402
import common  # noqa: E402
import fits  # noqa: E402
import growth  # noqa: E402
import mnist_epoch  # noqa: E402
import neural_ode  # noqa: E402


def test_candidates_take_turns_after_a_call_that_does_not_count():
    calls: list[str] = []
    times = common.turns({name: (lambda name=name: calls.append(name)) for name in "ab"}, rounds=3, calls=2)
    assert "".join(calls) == "ab" + 3 * "aabb"
    assert {name: len(row) for name, row in times.items()} == {"a": 3, "b": 3}
    assert min(times["a"] + times["b"]) >= 0


def test_a_ratio_is_that_of_neighbouring_turns():
    times = {"slow": [2.0, 8.0, 30.0], "quick": [1.0, 2.0, 10.0]}
    assert common.over(times, "slow", "quick") == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert common.spreads(times)["slow"] == {"median": 8.0, "low": 2.0, "high": 30.0}


def test_results_are_written_whole_or_not_at_all(tmp_path):
    common.keep("x", {"a": 1}, folder=tmp_path)
    with pytest.raises(TypeError):
        common.keep("x", {"a": object()}, folder=tmp_path)
    assert common.kept("x", folder=tmp_path) == {"a": 1}
    assert common.kept("none", folder=tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_the_peer_is_torchdiffeq_with_nothing_of_ours_around_it():
    field, x, t = MLPField(2, 4, seed=0), torch.tensor([[2.0, 0.0]]), torch.tensor([0.0, 0.5, 1.0])
    peer = neural_ode.Peer(field, rtol=1e-5, atol=1e-5)
    assert torch.equal(peer(x, t), odeint(field, x, t, rtol=1e-5, atol=1e-5))
    assert torch.equal(peer(x), odeint(field, x, t[[0, 2]], rtol=1e-5, atol=1e-5)[-1])
    ours = NeuralODE(field, rtol=1e-5, atol=1e-5)
    assert neural_ode.evaluations(field, lambda: ours(x, t)) == ours.nfe.forward
    assert neural_ode.evaluations(field, lambda: peer(x, t)) % 6 == 2


def test_the_floor_evaluates_as_often_as_it_says_and_gives_the_sum_of_the_gradients():
    field, x = MLPField(2, 4, seed=0), torch.tensor([[2.0, 0.0]], requires_grad=True)
    run = neural_ode.field_alone(field, x, 2, 3)
    assert neural_ode.evaluations(field, run) == 5
    once = torch.autograd.grad(field(torch.tensor(0.0), x).sum(), [x, *field.parameters()])
    for three, one in zip(run(), once, strict=True):
        assert torch.allclose(three, 3 * one)


def test_an_exponent_is_that_of_the_upper_half():
    work = [1, 2, 4, 8, 16, 32]
    assert growth.exponent(work, [w**1.5 for w in work]) == pytest.approx(1.5)
    assert growth.exponent(work, [7, 7, 7, 8, 16, 32]) == pytest.approx(1.0)


def test_a_fit_is_judged_by_its_whole_rollout():
    weights = fits.initial("spiral", 0)
    y = fits.data("spiral")[1]
    still = [weights[0], weights[1], 0 * weights[2], 0 * weights[3]]  # a field of zeros stays at the start
    assert fits.judged("spiral", still, y[0]) == pytest.approx(((y[0] - y) ** 2).mean())
    assert fits.judged("spiral", weights, y[0]) > fits.PROBLEMS["spiral"]["target"]


def test_an_unknown_benchmark_is_told_with_the_names(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench.py", "steps"])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2
    assert "no benchmark 'steps'; there are step, neural_ode" in capsys.readouterr().err


@pytest.mark.parametrize("name", bench.NAMES)
def test_each_benchmark_has_a_script_that_says_what_it_does_and_results(name):
    assert ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text("utf-8")))
    result = json.loads((FOLDER / "results" / f"{name}.json").read_text("utf-8"))
    assert {"machine", "cores", "python", "versions"} <= set(result)
    rows = list(spreads_in(result))
    assert all(row["low"] <= row["median"] <= row["high"] for row in rows)
    assert rows or name in ("fits", "growth")  # which keep every run, and curves


def test_growth_measures_nothing_before_the_results_agree():
    def candidate(factor):
        return growth.Candidate(lambda work: (lambda: [torch.full((2,), work * factor)], []), 1, 1)

    same = {"first": candidate(1.0), "other": candidate(1.0 + 1e-6)}
    curves = list(growth.costs([1, 2, 4], same, limit=1e-4))
    assert [(c.who, c.cost) for c in curves] == [(w, c) for w in same for c in ("ms", "bytes")]
    with pytest.raises(AssertionError, match=r"other, work 1: the results differ by 1\.0e-02"):
        list(growth.costs([1, 2, 4], {**same, "other": candidate(1.01)}, limit=1e-4))


def test_the_published_scripts_field_gives_what_the_recipes_does():
    field = ConvField(4, 2)
    x, t = torch.randn(3, 4, 5, 5), torch.tensor(0.3)
    torch.testing.assert_close(mnist_epoch.Concatenated(field)(t, x), field(t, x))


def test_no_results_without_a_benchmark():
    found = {path.stem for path in (FOLDER / "results").glob("*.json")}
    apart = {"mnist_epoch_cpu", "mnist_epoch_cuda"}  # they need data
    assert set(bench.NAMES) <= found <= {*bench.NAMES, *apart}


def spreads_in(found):
    """Every median with its spread, however deep."""
    if isinstance(found, dict):
        if set(found) == {"median", "low", "high"}:
            yield found
        for part in found.values():
            yield from spreads_in(part)
    elif isinstance(found, list):
        for part in found:
            yield from spreads_in(part)


def test_spreads_are_drawn_from_low_to_high_with_the_median_on_them():
    rows = {"a": {"median": 2.0, "low": 1.0, "high": 4.0}, "b": {"median": 0.5, "low": 0.25, "high": 1.0}}
    alt = "Two rows, of which the first lies to the right."
    ax = plots.spreads(rows, xlabel="ratio", reference=1, alt=alt).fig.axes[0]
    drawn = [list(map(float, line.get_xdata())) for line in ax.lines]
    assert drawn == [[1.0, 4.0], [2.0], [0.25, 1.0], [0.5], [1, 1]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert ax.yaxis_inverted() and ax.get_xscale() == "log"
