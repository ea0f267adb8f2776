"""The digits recipe: sizes, one net by both gradients, the small configuration, and the recorded runs."""

from pathlib import Path

import pytest
import torch

from course_lib import records
from course_lib.recipes import Setup, execute, recipe
from course_lib.recipes.base import parameters
from course_lib.recipes.digits_odenet import KINDS, model

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


@pytest.mark.parametrize("kind", ["none", "rknet", "odenet"])
def test_the_small_configuration_records_errors_and_evaluations(kind, tmp_path):
    chosen = recipe("digits-odenet")
    config = chosen.configure(small=True, model=kind)
    record = execute(chosen, config, Setup(small=True, out=str(tmp_path), progress=False, device="cpu"))
    assert record.complete and 0 <= record.mean("test_error") <= 1
    assert (record.mean("nfe_forward") >= 14) == (kind != "none")
    assert (record.mean("nfe_backward") > 0) == (kind == "odenet")


def test_the_runs_that_the_page_reads_are_those_that_the_recipe_makes():
    chosen = recipe("digits-odenet")
    for kind in KINDS:
        record = records.read(RECORDED / f"digits-odenet-{kind}.json")
        assert record.config == vars(chosen.configure(model=kind)) and record.complete and not record.small
        assert record.seeds == [0, 1, 2, 3, 4] and set(record.values("parameters")) == {COUNTS[kind]}
        assert record.data["sha256"] == chosen.load(chosen.configure(), Setup()).checksum
