"""Recipes: exact networks, published settings, the small configurations, the command line."""

import argparse
from dataclasses import asdict, replace

import pytest
import torch

from course_lib import records
from course_lib.neural_ode import NeuralODE
from course_lib.recipes import MODULES, Setup, anode_toy, cli, execute, missing, mnist_models, mnist_odenet, recipe
from course_lib.recipes import cifar10_hamiltonian as cifar
from course_lib.recipes.base import parameters

COUNTS = {
    "odenet": 208_266,
    "rknet": 208_266,
    "resnet6": 576_778,
    "resnet1": 206_858,
    "none": 132_874,
    "mlp": 238_510,
    "mlp-deskewed": 238_510,
}


@pytest.mark.parametrize("kind", mnist_models.KINDS)
def test_mnist_networks_have_the_published_counts(kind):
    assert parameters(mnist_models.model(kind)) == COUNTS[kind]


def test_the_cifar_network_has_the_published_count_and_decays_its_kernels_alone():
    net = cifar.network(cifar.Config(), 0)
    assert parameters(net) == 3_157_882
    opt = cifar.optimizer(net, cifar.Config())
    decayed = sum(p.numel() for p in opt.param_groups[0]["params"])
    biases = 16 + 32 + 2 * sum(w // 2 for w in cifar.WIDTHS) + 10
    assert decayed == 3_157_882 - biases and opt.param_groups[1]["weight_decay"] == 0


def test_published_settings():
    c = recipe("cifar10-hamiltonian").configure()
    assert (c.method, c.h, c.steps, c.epochs, c.batch_size, c.lr, c.momentum) == ("euler", 0.15, 4, 327, 32, 0.1, 0.9)
    assert c.epochs == 512_000 // 1562 and 50_000 // 32 == 1562
    assert [round(327 * done) for done in (1 / 3, 2 / 3)] == [109, 218]
    m = recipe("mnist-odenet").configure()
    assert (m.model, m.solver, m.tolerance, m.epochs, m.batch_size, m.lr) == ("odenet", "dopri5", 1e-3, 160, 128, 0.1)
    rates = [mnist_odenet.SCHEDULES["drops"](epoch / 160) for epoch in (59, 60, 99, 100, 139, 140)]
    assert rates == pytest.approx([1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_weight_decay_is_keras_l2():
    w = torch.nn.Parameter(torch.tensor([[3.0]]))
    (1e-4 * w.square().sum()).backward()
    assert w.grad.item() == pytest.approx(cifar.Config().weight_decay * 3.0)


def test_deskewing_straightens_a_leaning_bar():
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")

    def bar(lean, middle):
        return torch.exp(-((columns - middle - lean * (rows - 14)) ** 2) / 4) * ((rows > 5) & (rows < 23))

    images = torch.stack([bar(0.5, 13), bar(-0.5, 15), bar(0.0, 14)])[:, None]
    straight = mnist_models.deskew(images)
    for before, after, leans in zip(images, straight, (True, True, False), strict=True):
        width = [(i[0].sum(0) > 0.5 * i[0].sum(0).max()).sum().item() for i in (before, after)]
        assert width[1] <= 4 and (width[0] > 5 if leans else width[0] == width[1])
        centre = [((i[0] * columns).sum() / i[0].sum()).item() for i in (before, after)]
        assert centre[1] == pytest.approx(centre[0], abs=0.05)


@pytest.mark.parametrize("kind", ["odenet", "rknet"])
def test_the_ode_block_takes_its_method_and_gradient_from_the_recipe(kind):
    block = next(m for m in mnist_models.model(kind, tolerance=1e-2).modules() if isinstance(m, NeuralODE))
    x = torch.rand(2, 64, 3, 3, requires_grad=True)
    block(x).sum().backward()
    assert block.nfe.forward % 6 == 2  # dopri5: two to choose the first step, six a step
    assert (block.nfe.backward > 0) == (kind == "odenet") and block.rtol == block.atol == 1e-2
    fixed = next(m for m in mnist_models.model(kind, method="rk4", steps=3).modules() if isinstance(m, NeuralODE))
    fixed(x)
    assert fixed.nfe.forward == 12


def small(name: str, tmp_path, **changes):
    chosen = recipe(name)
    config = chosen.configure(small=True, **changes)
    return execute(chosen, config, Setup(out=str(tmp_path), small=True, progress=False, device="cpu"))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("method", ["euler", "verlet"])
def test_small_cifar_recipe_learns_and_records(method, tmp_path):
    record = small("cifar10-hamiltonian", tmp_path, method=method, epochs=4)
    assert record.mean("test_accuracy") > 0.4 and record.complete and record.small
    (path,) = tmp_path.glob("*.json")
    assert path.name == f"cifar10-hamiltonian-{method}-small.json"
    again = records.read(path)
    assert again.config["method"] == method and again.runs[0].history.epochs == 4 and "digits" in again.data["name"]
    assert again.runs[0].final["teraflops"] > 0


def test_a_record_is_extended_by_the_missing_seeds_alone(tmp_path):
    chosen = recipe("mnist-odenet")
    config = chosen.configure(small=True, model="mlp")
    first = execute(chosen, config, Setup(seeds=(0,), out=str(tmp_path), small=True, progress=False))
    both = execute(chosen, config, Setup(seeds=(0, 1), out=str(tmp_path), small=True, progress=False))
    assert both.seeds == [0, 1] and both.runs[0].final == first.runs[0].final and both.complete
    assert both.runs[1].final["test_error"] != both.runs[0].final["test_error"]
    with pytest.raises(ValueError, match="holds another configuration"):
        execute(chosen, chosen.configure(small=True, model="mlp", lr=0.01), Setup(out=str(tmp_path), small=True))


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers(dest="command", required=True))
    parsed = parser.parse_args(arguments)
    return parsed.command_function(parsed)


def test_the_command_line(tmp_path, capsys):
    assert command("list") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in MODULES)
    assert (
        command(
            "run",
            "mnist-odenet",
            "--small",
            "--model",
            "mlp-deskewed",
            "--seeds",
            "3",
            "4",
            "--quiet",
            "--out",
            str(tmp_path),
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "test_error" in shown and "±" in shown and "small configuration" in shown
    record = records.read(tmp_path / "mnist-odenet-mlp-deskewed-small.json")
    assert record.seeds == [3, 4] and record.config == {
        **asdict(mnist_odenet.Config()),
        **mnist_odenet.SMALL,
        "model": "mlp-deskewed",
    }


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["run", "cifar11"], "recipe 'cifar11' is unknown: there are cifar10-hamiltonian"),
        (["run", "mnist-odenet", "--model", "vgg", "--small", "--quiet"], "model='vgg' is unknown"),
        (["run", "mnist-odenet", "--data", "/nowhere"], "no such file; give the folder that holds MNIST"),
        (["run", "cifar10-hamiltonian", "--small", "--schedule", "wave"], "schedule='wave' is unknown"),
    ],
)
def test_bad_commands_are_one_line(arguments, message, capsys):
    assert command(*arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("name", MODULES)
def test_help_lists_every_setting(name, capsys):
    with pytest.raises(SystemExit) as stop:
        command("run", name, "--help")
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert all("--" + f.replace("_", "-") in text for f in asdict(recipe(name).configure()))


def test_what_is_still_to_be_recorded_is_what_has_no_complete_record():
    chosen = recipe("mnist-odenet")
    commands = missing(chosen, [])
    assert (
        len(commands) == 7
        and "python -m course_lib run mnist-odenet --model mlp --preset fast --data FOLDER" in commands
    )
    config = asdict(chosen.configure(model="mlp", preset="fast"))
    record = records.new(
        "mnist-odenet", config, data={"name": "MNIST", "sha256": "0" * 64}, device=torch.device("cpu"), small=False
    )
    assert missing(chosen, [record]) == commands
    done = replace(record, complete=True)
    assert set(commands) - set(missing(chosen, [done])) == {c for c in commands if "--model mlp " in c}
    assert missing(chosen, [replace(done, small=True)]) == commands


@pytest.mark.parametrize("name,count", [("implicit-1d", 316), ("implicit-spirals", 1075)])
def test_implicit_recipes_have_the_published_nets_and_their_small_ones_learn(name, count, tmp_path):
    chosen = recipe(name)
    published = chosen.configure()
    widths = {"implicit-1d": 1, "implicit-spirals": 2}[name]
    u, depth = published.width, published.depth
    assert (widths + 1) * u + depth * (u * u + u) + u + 1 == count
    for theta in (0.0, 0.5):
        config = chosen.configure(small=True, theta=theta)
        record = execute(chosen, config, Setup(seeds=(0, 1), small=True, out=str(tmp_path)))
        assert record.complete and record.seeds == [0, 1] and record.values("diverged") == [0, 0]
        for run in record.runs:
            assert run.final["train_loss"] < 0.9 * run.history.loss[0]
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize("kind,count", [("resnet", 813), ("node", 1253), ("anode", 1583)])
def test_the_annulus_recipe_has_the_published_nets_and_its_small_ones_learn(kind, count, tmp_path):
    chosen = recipe("anode-toy")
    assert parameters(anode_toy.model(chosen.configure(model=kind))) == count
    setup = Setup(seeds=(0, 1), small=True, out=str(tmp_path))
    record = execute(chosen, chosen.configure(small=True, model=kind), setup)
    assert record.complete and record.seeds == [0, 1] and len(list(tmp_path.glob("*.json"))) == 1
    for run in record.runs:
        assert run.final["train_loss"] < 0.6 * run.history.loss[0]
        assert (run.final["nfe_last"] >= 8) == (kind != "resnet")
    with pytest.raises(ValueError, match="model='plain' is unknown"):
        execute(chosen, chosen.configure(small=True, model="plain"), Setup(small=True))


def test_seeds_of_an_implicit_recipe_can_be_added_later(tmp_path):
    chosen = recipe("implicit-spirals")
    config = chosen.configure(small=True, theta=0.0, epochs=2)
    for seeds in ((0,), (0, 1)):
        record = execute(chosen, config, Setup(seeds=seeds, small=True, out=str(tmp_path)))
    alone = execute(chosen, config, Setup(seeds=(1,), small=True))
    assert record.seeds == [0, 1] and record.runs[1].final == pytest.approx(alone.runs[0].final)


def test_data_that_are_not_the_published_files_are_never_called_so():
    assert Setup().name_of("CIFAR-10") == "CIFAR-10"
    assert Setup(data_name="CIFAR-10").name_of("CIFAR-10") == "CIFAR-10"
    assert Setup(verify=False).name_of("CIFAR-10") == "CIFAR-10, altered copy"
    assert Setup(verify=False, data_name="CIFAR-10, JPEG copy").name_of("CIFAR-10") == "CIFAR-10, JPEG copy"
