"""The digits recipe: sizes, one net by both gradients, the choice of the rate, the small configuration, the records."""

import math
from pathlib import Path

import pytest
import torch

from course_lib import records
from course_lib.recipes import Setup, execute, recipe
from course_lib.recipes.base import _plain, parameters
from course_lib.recipes.digits_odenet import KINDS, choose, fold, model

COUNTS = {"odenet": 9_530, "rknet": 9_530, "resnet6": 32_538, "resnet1": 9_178, "none": 4_506}
RECORDED = Path(__file__).resolve().parents[1] / "book/recorded"


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_the_description(kind):
    net = model(kind)
    assert parameters(net) == COUNTS[kind]
    assert net(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def test_an_unknown_model_is_named():
    with pytest.raises(ValueError, match="model='vgg' is unknown: give one of odenet"):
        model("vgg")


def test_both_ode_nets_are_one_net_with_two_gradients():
    images, grads, out = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), {}, {}
    for kind in ("odenet", "rknet"):
        torch.manual_seed(0)
        net = model(kind, channels=8, tolerance=1e-6).double()
        out[kind] = net(images.double())
        out[kind].square().sum().backward()
        grads[kind] = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert torch.equal(out["odenet"], out["rknet"])
    gap = (grads["odenet"] - grads["rknet"]).norm() / grads["rknet"].norm()
    assert 0 < gap < 5e-2


def choice(split, rates):
    config = recipe("digits-odenet").configure(small=True, model="none", rates=rates)
    options = Setup(device="cpu", progress=False).fit_options() | {"compile": False, "precision": "float32"}
    return choose(config, split, options)[:2]


def test_the_rate_chosen_has_the_least_loss_and_the_test_takes_no_part():
    split = recipe("digits-odenet").load(None, Setup()).split
    lr, losses = choice(split, (1e-6, 0.01))
    assert lr == 0.01 and losses[0.01] < losses[1e-6]
    blind = split._replace(x_val=torch.full_like(split.x_val, math.nan), y_val=torch.zeros_like(split.y_val))
    assert choice(blind, (1e-6, 0.01)) == (lr, losses)


def test_a_rate_at_which_training_breaks_down_is_not_chosen():
    lr, losses = choice(recipe("digits-odenet").load(None, Setup()).split, (1e30, 0.01))
    assert lr == 0.01 and losses[1e30] == math.inf


def test_nets_for_the_choice_learn_from_other_images_than_they_are_measured_on():
    split = recipe("digits-odenet").load(None, Setup()).split
    part = fold(split)
    assert torch.equal(torch.cat((part.x, part.x_val)), split.x) and len(part.x) == 1150


@pytest.mark.parametrize("kind", ["none", "rknet", "odenet"])
def test_the_small_configuration_learns_and_records_errors_and_evaluations(kind, tmp_path):
    chosen = recipe("digits-odenet")
    config = chosen.configure(small=True, model=kind)
    record = execute(chosen, config, Setup(small=True, out=str(tmp_path), progress=False, device="cpu"))
    assert record.complete and record.mean("test_error") < 0.8 and record.mean("train_loss") < 2.25  # guess: 0.9, 2.30
    assert record.mean("lr") == 0.03  # at the other rate nothing is learned in so short a time
    assert (record.mean("nfe_forward") >= 14) == (kind != "none")
    assert (record.mean("nfe_backward") > 0) == (kind == "odenet")


def test_the_runs_that_the_page_reads_are_those_that_the_recipe_makes():
    chosen = recipe("digits-odenet")
    for kind in KINDS:
        record = records.read(RECORDED / f"digits-odenet-{kind}.json")
        assert record.config == _plain(vars(chosen.configure(model=kind))) and record.complete and not record.small
        losses = {rate: record.values(f"tuning_loss_{rate:g}")[0] for rate in record.config["rates"]}
        assert set(record.values("lr")) == {min(losses, key=losses.get)}
        assert record.seeds == [0, 1, 2, 3, 4] and set(record.values("parameters")) == {COUNTS[kind]}
        data = chosen.load(chosen.configure(), Setup())
        assert record.data == {"name": data.name, "sha256": data.checksum} and "1438 + 359" in data.name
