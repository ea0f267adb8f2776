"""The recipe lotka-volterra: what it may look at, its own segments, its small configuration and its records."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from course_lib import records
from course_lib.fitting import multiple_shooting
from course_lib.neural_ode import Unstructured
from course_lib.recipes import Setup, execute, lotka_volterra, recipe
from course_lib.recipes.lotka_runs import rollout, shoot

RECORDED = Path(__file__).resolve().parents[1] / "book" / "recorded"


@pytest.mark.parametrize("model", ["node", "ude"])
def test_small_forecast_learns_and_records(model, tmp_path):
    chosen = recipe("lotka-volterra")
    config = chosen.configure(small=True, model=model, widths=(3, 4))
    record = execute(chosen, config, Setup(seeds=(0, 1), small=True, out=str(tmp_path)))
    assert record.complete and record.seeds == [0, 1]
    for run in record.runs:
        assert run.final["width"] in (3, 4) and run.final["decay"] in config.decays
        assert run.history.loss[-1] < 0.5 * run.history.loss[0]
        assert run.history.epochs == config.epochs + config.polish
    assert record.values("test_error")[0] != record.values("test_error")[1]


def test_the_choice_never_sees_the_test_years():
    chosen = recipe("lotka-volterra")
    config = chosen.configure(small=True, epochs=10, polish=0)
    data = lotka_volterra.load(config, Setup())
    altered = data._replace(logs=data.logs.clone())
    altered.logs[config.years :] += 3.0
    assert lotka_volterra.choose(config, data, [0, 1]) == lotka_volterra.choose(config, altered, [0, 1])


def test_the_forecast_is_fitted_to_its_years_and_judged_on_the_others(monkeypatch):
    """With the choice made: the median counts, not the mean, and the test years are no part of the fit."""
    chosen = recipe("lotka-volterra")
    config = chosen.configure(small=True, epochs=30, polish=10)
    errors = {(3, 1e-3): [1.0, 1.0, 9.0], (4, 1e-3): [2.0, 2.0, 2.0]}
    monkeypatch.setattr(lotka_volterra, "choose", lambda *arguments: errors)
    data = lotka_volterra.load(config, Setup())
    altered = data._replace(logs=data.logs.clone())
    altered.logs[config.years :] += 3.0
    one, two = (list(lotka_volterra.run_forecast(config, d, [0, 1, 2])) for d in (data, altered))
    for a, b in zip(one, two, strict=True):
        assert (a.final["width"], a.final["decay"]) == (3, 1e-3)
        assert a.history.loss == pytest.approx(b.history.loss, rel=1e-3)
        assert a.final["training_error"] == pytest.approx(b.final["training_error"], rel=1e-3)
        assert abs(a.final["test_error"] - b.final["test_error"]) > 0.1
        for run in (a, b):
            assert run.final["test_error"] ** 2 == pytest.approx(run.history.metrics["val_loss"][-1], rel=0.05)
    assert [run.final["held_out_error"] for run in one] == [1.0, 1.0, 9.0]


def test_decay_holds_the_weights_down_and_continuity_joins_the_segments():
    t = torch.linspace(0, 2, 13).unsqueeze(1)
    wave = torch.stack((3 * t.sin(), t.cos()), -1)
    data = wave + 0.2 * torch.randn(wave.shape, generator=torch.Generator().manual_seed(0))

    def trained(**options) -> tuple[Unstructured, torch.Tensor]:
        field = Unstructured(2, 6, seeds=[0])
        return field, shoot(field, t, data, group=4, epochs=150, lr=0.03, **options).losses[-1]

    free, loss = trained(continuity=0.0)
    held, _ = trained(continuity=0.0, decay=1.0)
    _, joined = trained(continuity=100.0)
    assert held.net.squares().item() < 0.5 * free.net.squares().item()
    assert joined.item() > 1.2 * loss.item()  # what joins cannot follow the noise


def test_small_gaps_drop_other_points_for_each_seed(tmp_path):
    chosen = recipe("lotka-volterra")
    config = chosen.configure(small=True, task="gaps", drop=0.8, epochs=120, step=0.5)
    data = lotka_volterra.load(config, Setup())
    (first, values), (second, _) = (lotka_volterra.observed(config, data, seed) for seed in (0, 1))
    assert len(first) == len(second) == 20 and not torch.equal(first, second)
    assert first[0] == 0 and first[-1] == 100 and (first.diff() > 0).all() and values.shape == (20, 2)
    assert (values - data.logs[first]).std() == pytest.approx(0.1, rel=0.3)
    record = execute(chosen, config, Setup(seeds=(0, 1), small=True, out=str(tmp_path)))
    assert set(record.values("points")) == {20}
    for run in record.runs:
        assert run.history.loss[config.epochs - 1] < 0.5 * run.history.loss[0]  # of the segments, before the rollout
        t = data.t[:101]
        index, logs = lotka_volterra.observed(config, data, run.seed)
        cubic, linear = CubicSpline(t[index], logs)(t), [np.interp(t, t[index], logs[:, k]) for k in (0, 1)]
        for name, guess in (("cubic_inside", cubic), ("linear_inside", np.stack(linear, 1))):
            assert run.final[name] == pytest.approx(np.sqrt(np.mean((guess - data.logs[:101].numpy()) ** 2)))


def test_its_segments_are_the_librarys_where_all_seeds_share_the_times():
    t = torch.linspace(0, 2, 12)
    data = torch.stack((t.sin(), t.cos()), -1).unsqueeze(1).expand(-1, 2, -1)
    ours, theirs = Unstructured(2, 6, seeds=[0, 1]), Unstructured(2, 6, seeds=[0, 1])
    found = shoot(ours, t.unsqueeze(1).expand(-1, 2), data, group=4, epochs=1, lr=0.01)
    fit = multiple_shooting(theirs, t, data, group=4, epochs=1, lr=0.01)
    # Ours is a loss for each seed, the library's their mean; the misfit is all of it, for jumps are zero at first only
    # where the data are exact, so compare the first step of Adam, which has the sign of the gradient.
    assert torch.allclose(ours.net.w1, theirs.net.w1, atol=1e-5) and torch.allclose(found.x0, fit.x0, atol=1e-5)


def test_a_rollout_with_times_of_each_seed_is_each_seeds_own():
    field = Unstructured(2, 6, seeds=[0, 1])
    t = torch.tensor([[0.0, 0.0], [0.5, 0.2], [1.0, 0.9]])
    x0 = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    both = rollout(field, x0, t)
    for k in (0, 1):
        assert torch.allclose(both[:, k], rollout(field, x0, t[:, k])[:, k], atol=1e-6)


@pytest.mark.parametrize("change,message", [({"task": "x"}, "task='x'"), ({"model": "x"}, "model='x'")])
def test_unknown_names_are_one_line(change, message):
    chosen = recipe("lotka-volterra")
    with pytest.raises(ValueError, match=message):
        execute(chosen, chosen.configure(small=True, **change), Setup(small=True))


def test_the_book_has_every_wanted_record():
    chosen = recipe("lotka-volterra")
    made = [asdict(chosen.configure(**wanted)) for wanted in chosen.wanted]
    have = [records.read(path).config for path in RECORDED.glob("lotka-volterra-*.json")]
    plain = [{k: list(v) if isinstance(v, tuple) else v for k, v in config.items()} for config in made]
    assert all(config in have for config in plain)
