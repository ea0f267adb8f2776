"""Recipes: exact networks, published settings, the small configurations, the command line."""

import argparse
import json
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from course_lib import records
from course_lib.data import annulus
from course_lib.integrators import SolveError
from course_lib.neural_ode import NeuralODE
from course_lib.recipes import MODULES, Setup, anode_toy, cli, execute, missing, mnist_models, mnist_odenet, recipe
from course_lib.recipes import cifar10_hamiltonian as cifar
from course_lib.recipes.base import _plain, extended, parameters
from course_lib.recipes.conv_blocks import ConvField
from course_lib.recipes.throughput import flops_per_sample, matrix_teraflops
from course_lib.train import Augmentation, History
from course_lib.train import checkpoint as ckpt
from course_lib.train.objective import Objective
from course_lib.train.session import Session

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


def test_changes_go_over_the_small_settings_and_these_over_the_preset():
    chosen = recipe("mnist-odenet")
    assert chosen.configure(preset="fast").epochs == 40 and chosen.configure(preset="fast", small=True).epochs == 2
    assert chosen.configure(preset="fast", small=True, epochs=7).epochs == 7
    with pytest.raises(ValueError, match="preset='quick' is unknown: give published, fast, brief"):
        chosen.configure(preset="quick")


class Seen(Exception):
    """What a recipe hands to the trainer."""


def handed(module, trainer: str, monkeypatch, seeds=(0,), **changes) -> tuple:
    """Positional and named arguments of the first call of the trainer; the data."""

    def stop(*arguments, **options):
        raise Seen(arguments, options)

    monkeypatch.setattr(module, trainer, stop)
    chosen = module.RECIPE
    config, setup = chosen.configure(small=True, **changes), Setup(small=True)
    data = chosen.load(config, setup)
    with pytest.raises(Seen) as seen:
        list(chosen.run(config, data, list(seeds), setup, lambda seed: None))
    return *seen.value.args, data


def test_cifar_trains_on_whole_batches_with_shifts_and_flips_and_is_measured_on_the_test_images(monkeypatch):
    (_, (x, y), loss), options, data = handed(cifar, "fit", monkeypatch, smoothing=0.1, cutout=3, clip=0.0, shift=2)
    mean = data.x.double().mean(0)
    for images, raw in ((x, data.x), (options["validation"][0], data.x_test)):  # the training images' mean for both
        torch.testing.assert_close(images.double(), (raw - mean) / 128, rtol=0, atol=1e-5)
    assert torch.equal(y, data.y) and torch.equal(options["validation"][1], data.y_test)
    assert options["augment"] == Augmentation(2, "nearest", flip=True, cutout=3) and options["drop_last"]
    assert loss.label_smoothing == 0.1 and options["clip"] is None


def test_mnist_trains_on_whole_batches_and_mlps_without_crops(monkeypatch):
    for kind, augment in (("resnet1", Augmentation(1)), ("mlp", None), ("mlp-deskewed", None)):
        (_, (x, y), _), options, data = handed(mnist_odenet, "fit", monkeypatch, model=kind)
        assert options["augment"] == augment and options["drop_last"] and options["options"] == {"momentum": 0.9}
        for images, raw in ((x, data.x), (options["validation"][0], data.x_test)):
            raw = raw / 255
            assert torch.equal(images, mnist_models.deskew(raw) if kind == "mlp-deskewed" else raw)
        assert torch.equal(y, data.y) and torch.equal(options["validation"][1], data.y_test)


def test_the_last_epoch_counts_and_the_best_is_given_beside_it():
    known = dict(loss=[1.0] * 3, nfe_forward=[8, 14, 20], nfe_backward=[0, 0, 26], seconds=[1.0, 2.0, 3.0], steps=30)
    history = History(metrics={"val_accuracy": [0.5, 0.9, 0.75]}, **known)
    final = mnist_odenet.final(history, 5)
    assert (final["test_error"], final["seconds_a_step"], final["nfe_forward"]) == (0.25, 0.1, 20)
    assert final["best_test_error"] == pytest.approx(0.1) and final["nfe_backward"] == 26
    history = History(metrics={"val_accuracy": [0.5, 0.91, 0.75], "val_loss": [3.0, 2.0, 2.5]}, **known)
    final = cifar.final(history, torch.nn.Linear(2, 1), cifar.Config(), 6e12, 10.0)
    assert (final["test_accuracy"], final["best_test_accuracy"], final["test_loss"]) == (0.75, 0.91, 2.5)
    assert final["seconds_to_90.37"] == 2.0 and final["teraflops"] == pytest.approx(6)


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


def test_the_field_takes_the_time_as_one_more_channel():
    torch.manual_seed(0)
    field, t = ConvField(4, 2).double(), torch.tensor(0.7, dtype=torch.float64)
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64)

    def with_t(x):
        return torch.cat((t.expand(3, 1, 5, 6), x), 1)

    y = field.conv1(with_t(torch.relu(field.norm1(x))))
    y = field.norm3(field.conv2(with_t(torch.relu(field.norm2(y)))))
    torch.testing.assert_close(field(t, x), y)


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
    assert min(again.runs[0].final[name] for name in ("teraflops", "matrix_teraflops")) > 0


def test_operations_are_counted_forward_and_backward_and_leave_the_net_alone():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4)).eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    # 2 operations a multiply-add; backward the weights' gradient alone, since nothing needs the image's.
    assert flops_per_sample(net, torch.rand(2, 3, 8, 8)) == 2 * 2 * 4 * 3 * 9 * 64
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()) and net[0].weight.grad is None
    assert not net.training
    whole = flops_per_sample(cifar.network(cifar.Config(), 0), torch.rand(1, 3, 32, 32))
    assert 5.5e9 < whole < 6.5e9
    assert matrix_teraflops(Setup(device="cpu")) > 1e-3


@pytest.mark.parametrize("method", ["euler", "symplectic_euler", "verlet", "leapfrog", "midpoint"])
def test_the_network_compiles_into_one_graph_with_the_same_gradient(method):
    config = recipe("cifar10-hamiltonian").configure(small=True, method=method, widths=(16, 32), pooled=(True, True))
    objective = Objective(cifar.network(config, 0), torch.nn.CrossEntropyLoss(label_smoothing=0.1))
    x, y = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])
    grads = []
    for forward in (objective, torch.compile(objective, fullgraph=True, backend="aot_eager")):
        objective.zero_grad()
        forward(x, y).backward()
        grads.append(torch.cat([p.grad.flatten() for p in objective.parameters()]))
    assert (grads[1] - grads[0]).norm() < 1e-5 * grads[0].norm()


def test_small_runs_in_the_book_have_the_small_configuration_of_today():
    book = Path(__file__).resolve().parents[1] / "book/recorded"
    kinds = {"cifar10-hamiltonian": "method", "implicit-1d": "theta", "implicit-spirals": "theta"}
    small = [r for r in records.read_all(book) if r.small]
    assert {r.recipe for r in small} == kinds.keys() and len(small) == 6
    for record in small:
        kind = kinds[record.recipe]
        config = recipe(record.recipe).configure(small=True, **{kind: record.config[kind]})
        assert record.config == _plain(asdict(config)) and record.complete and len(record.seeds) == 5


def test_every_recipe_has_a_notebook_of_its_small_configuration():
    cells = [
        "".join(cell["source"])
        for path in (Path(__file__).parent / "notebooks").glob("*.ipynb")
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
    ]
    for name in MODULES:
        assert any(f'recipe("{name}")' in cell and "small=True" in "".join(cells) for cell in cells), name


def test_a_record_is_extended_by_the_missing_seeds_alone(tmp_path):
    chosen = recipe("mnist-odenet")
    config = chosen.configure(small=True, model="mlp")
    first = execute(chosen, config, Setup(seeds=(0,), out=str(tmp_path), small=True, progress=False))
    both = execute(chosen, config, Setup(seeds=(0, 1), out=str(tmp_path), small=True, progress=False))
    assert both.seeds == [0, 1] and both.runs[0].final == first.runs[0].final and both.complete
    assert both.runs[1].final["test_error"] != both.runs[0].final["test_error"]
    with pytest.raises(ValueError, match="holds another configuration"):
        execute(chosen, chosen.configure(small=True, model="mlp", lr=0.01), Setup(out=str(tmp_path), small=True))
    altered = replace(chosen, load=lambda *arguments: replace(chosen.load(*arguments), checksum="1" * 64))
    with pytest.raises(ValueError, match="holds another configuration or data set"):
        execute(altered, config, Setup(out=str(tmp_path), small=True))


def test_a_seed_given_twice_is_run_once():
    chosen = recipe("mnist-odenet")
    assert execute(chosen, chosen.configure(small=True, model="mlp", epochs=1), Setup((3, 3), small=True)).seeds == [3]


def test_a_field_that_its_solver_cannot_solve_is_one_line(monkeypatch, capsys):
    def lost(*arguments):
        raise SolveError("no solution up to t = 1")

    monkeypatch.setattr(cli, "execute", lost)
    assert command("run", "digits-odenet", "--small") == 1
    assert capsys.readouterr().err == "digits-odenet: no solution up to t = 1\n"


def stop_after(batches: int, monkeypatch) -> None:
    """From now on a run's time is over after so many batches."""
    asked = iter([False] * (batches - 1))
    monkeypatch.setattr(ckpt.Asked, "is_set", lambda self: next(asked, True))


def test_an_interrupted_run_is_recorded_as_far_as_it_got_and_goes_on(tmp_path, monkeypatch, capsys):
    chosen = recipe("mnist-odenet")
    config = chosen.configure(small=True, model="mlp", epochs=3)
    whole = execute(chosen, config, Setup(seeds=(0, 1), small=True, progress=False))
    setup = Setup(seeds=(0, 1), out=str(tmp_path), small=True, progress=False)
    path, per_epoch = tmp_path / "mnist-odenet-mlp-small.json", 768 // 16
    with monkeypatch.context() as patch:
        stop_after(per_epoch // 2, patch)
        execute(chosen, config, setup)  # not one epoch: nothing to record
    assert not path.exists() and "interrupted at seed 0, epoch 0; the same command" in capsys.readouterr().err
    for batches, epochs in ((2 * per_epoch, [2]), (2 * per_epoch + 9, [3, 1])):
        with monkeypatch.context() as patch:
            stop_after(batches, patch)
            execute(chosen, config, setup)
        record = records.read(path)
        assert [run.history.epochs for run in record.runs] == epochs and not record.complete
        assert record.runs[-1].history.stopped == "interrupted" and record.runs[-1].final["epochs"] == epochs[-1]
    execute(chosen, config, replace(setup, seeds=(0,)))
    assert records.read(path).complete and records.read(path).seeds == [0]  # all that is asked for now
    done = execute(chosen, config, setup)
    assert records.read(path).complete and done.complete and done.values("test_error") == whole.values("test_error")
    assert execute(chosen, config, setup).complete  # and again, with nothing to do


def test_a_run_with_other_settings_does_not_go_on_from_a_checkpoint(tmp_path, monkeypatch):
    chosen, setup = recipe("mnist-odenet"), Setup(out=str(tmp_path), small=True, progress=False)
    with monkeypatch.context() as patch:
        stop_after(20, patch)
        execute(chosen, chosen.configure(small=True, model="mlp"), setup)
    other = chosen.configure(small=True, model="mlp", momentum=0.5)
    assert execute(chosen, other, setup).values("test_error") == execute(
        chosen, other, Setup(small=True, progress=False)
    ).values("test_error")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_time_that_is_over_stops_a_run_and_the_record_says_how_far(tmp_path):
    out = str(tmp_path)
    assert command("run", "mnist-odenet", "--small", "--model", "mlp", "--quiet", "--out", out, "--minutes", "0") == 0
    assert not list(tmp_path.glob("*.json")) and list((tmp_path / "checkpoints").iterdir())
    assert command("run", "mnist-odenet", "--small", "--model", "mlp", "--quiet", "--out", out, "--minutes", "9") == 0
    assert records.read(tmp_path / "mnist-odenet-mlp-small.json").complete


def test_minutes_are_minutes(monkeypatch):
    class Stopped(ValueError):
        pass

    def stop(chosen, config, setup):
        raise Stopped(setup.deadline)

    monkeypatch.setattr(cli, "execute", stop)
    monkeypatch.setattr(cli.time, "monotonic", lambda: 1000.0)
    errors = []
    monkeypatch.setattr(cli, "print", lambda text, file: errors.append(text), raising=False)
    assert command("run", "mnist-odenet", "--small", "--minutes", "2.5") == 1
    assert errors == ["mnist-odenet: 1150.0"]


def test_sigterm_ends_a_run_with_a_record(tmp_path, monkeypatch):
    def killing(self, *arguments):
        ended(self, *arguments)
        if self.epoch == 2:
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)

    ended, before = Session.record, signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Session, "record", killing)
    changes = ["--small", "--model", "mlp", "--epochs", "9", "--quiet", "--out", str(tmp_path)]
    assert command("run", "mnist-odenet", *changes) == 0
    record = records.read(tmp_path / "mnist-odenet-mlp-small.json")
    assert record.runs[0].history.epochs == 2 and not record.complete
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_record_that_goes_on_elsewhere_names_both_places():
    here = records.new("r", {}, data={"name": "d", "sha256": "0" * 64}, device=torch.device("cpu"))
    there = replace(here, device={"type": "cuda", "name": "GPU"}, versions={**here.versions, "torch": "9.9"})
    runs = [records.Run(s, History(stopped=stopped), {}) for s, stopped in ((0, "epochs"), (1, "interrupted"))]
    both = extended(replace(here, runs=runs), there)
    assert both.seeds == [0] and both.device["name"] == f"{here.device['name']}, then GPU"
    assert both.versions["torch"] == f"{here.versions['torch']}, then 9.9"
    assert both.versions["python"] == here.versions["python"] and extended(both, there).device == both.device
    assert extended(replace(here, runs=runs[1:]), there).device == there.device


def test_record_runs_what_is_missing_within_its_time(tmp_path, monkeypatch):
    ran, clock = [], iter([0.0, 0.0, 100.0, 500.0])  # seconds: at the start, then before each run
    monkeypatch.setattr(cli.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(cli, "attended", lambda c: ran.append(c[2:]) or (int(len(ran) == 1), len(ran) == 4))
    chosen = recipe("cifar10-hamiltonian")
    done = records.new(
        chosen.name, asdict(chosen.configure(method="euler", preset="fast")),
        data={"name": "d", "sha256": "0" * 64}, device=torch.device("cpu"),
    )  # fmt: skip
    path = records.write(replace(done, runs=[records.Run(0, History(), {"a": 1})], complete=True), tmp_path / "a.json")
    options = ["--out", str(tmp_path), "--no-verify", "--minutes", "8"]
    assert command("record", chosen.name, *options) == 1  # the first run fails, and the second is made all the same
    run = ["course_lib", "run", chosen.name, "--method", "verlet", "--preset"]
    assert ran == [[*run, "fast", *options, "--minutes", "8.000"], [*run, "best", *options, "--minutes", "6.333"]]
    path.unlink()
    clock = iter([0.0, 0.0, 481.0])
    assert command("record", chosen.name, *options) == 0 and len(ran) == 3 and "euler" in ran[2]
    clock = iter([0.0, 0.0])
    assert command("record", chosen.name, *options) == 0 and len(ran) == 4  # a signal: no run after that one
    assert command("record", "cifar11") == 1 and command("record", chosen.name) == 2 and len(ran) == 4


def test_a_damaged_record_is_named_in_one_line(tmp_path, capsys):
    (tmp_path / "a.json").write_text("{")
    assert command("record", "mnist-odenet", "--out", str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith("record: ") and "a.json: is not a readable JSON file" in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_lets_the_run_that_is_being_made_end_in_its_own_way(name):
    child = f"""
import os, signal, sys, time
def end(*arguments):
    time.sleep(0.6)
    sys.exit(7)
signal.signal(signal.{name}, end)
os.kill(os.getppid(), signal.{name})
if "{name}" == "SIGINT":
    os.kill(os.getpid(), signal.SIGINT)  # as a terminal does
time.sleep(60)
"""
    assert cli.attended([sys.executable, "-c", child]) == (7, True)
    assert cli.attended([sys.executable, "-c", "raise SystemExit(3)"]) == (3, False)


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
        (["run", "mnist-odenet", "--small", "--model", "mlp", "--quiet", "--threads", "-2"], "threads=-2: expected"),
        (["run", "mnist-odenet", "--small", "--model", "mlp", "--quiet", "--epochs", "0"], "epochs=0: expected a"),
        (["run", "mnist-odenet", "--small", "--model", "mlp", "--quiet", "--device", "gpu"], "device='gpu' is unknown"),
        (["run", "mnist-odenet", "--small", "--model", "mlp", "--device", "cuda"], "torch sees no CUDA device"),
    ],
)
def test_bad_commands_are_one_line(arguments, message, capsys):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
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
        len(commands) == 12
        and "python -m course_lib run mnist-odenet --model mlp --preset fast --data FOLDER" in commands
    )
    config = asdict(chosen.configure(model="mlp", preset="fast"))
    record = records.new(
        "mnist-odenet", config, data={"name": "MNIST", "sha256": "0" * 64}, device=torch.device("cpu"), small=False
    )
    assert missing(chosen, [record]) == commands
    done = replace(record, complete=True)
    assert set(commands) - set(missing(chosen, [done])) == {c for c in commands if "--model mlp " in c}
    brief = replace(done, config=asdict(chosen.configure(model="none", preset="brief")))
    assert set(commands) - set(missing(chosen, [brief])) == {c for c in commands if c.count("none") and "brief" in c}
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
            assert run.final["train_loss"] < 0.8 * run.history.loss[0]
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize("kind,count", [("resnet", 813), ("node", 1253), ("anode", 1583)])
def test_the_annulus_recipe_has_the_published_nets_and_its_small_ones_learn(kind, count, tmp_path):
    chosen = recipe("anode-toy")
    assert parameters(anode_toy.model(chosen.configure(model=kind))) == count
    setup = Setup(seeds=(0, 1), small=True, out=str(tmp_path))
    record = execute(chosen, chosen.configure(small=True, model=kind, target=0.4), setup)
    assert record.complete and record.seeds == [0, 1] and len(list(tmp_path.glob("*.json"))) == 1
    for run in record.runs:
        assert run.final["train_loss"] < 0.6 * run.history.loss[0]
        assert (run.final["nfe_last"] >= 8) == (kind != "resnet")
        losses, known = run.history.metrics["val_loss"], run.final
        assert known["val_accuracy"] > 0.6 and known["val_loss"] == losses[-1]
        assert known["reached"] == 1 and losses[known["epochs_to_target"] - 1] <= 0.4
        assert all(loss > 0.4 for loss in losses[: known["epochs_to_target"] - 1])
    with pytest.raises(ValueError, match="model='plain' is unknown"):
        execute(chosen, chosen.configure(small=True, model="plain"), Setup(small=True))


def test_the_annulus_recipe_gives_each_seed_points_of_its_own_and_a_draw_besides_to_all(monkeypatch):
    (_, data, loss), options, _ = handed(anode_toy, "fit_seeds", monkeypatch, seeds=(3, 4))
    draws = [data(3), data(4), options["validation"]]
    for (x, y), seed in zip(draws, (3, 4, anode_toy.VALIDATION_SEED), strict=True):
        inputs, targets = annulus(60, 180, seed=seed)
        assert torch.equal(x, inputs) and torch.equal(y, targets)
    assert loss == "smooth_l1" and options["seeds"] == [3, 4]


def test_the_penalty_of_the_curve_and_the_moves_of_the_spirals_count():
    def final(name: str, **changes) -> dict:
        chosen = recipe(name)
        return execute(chosen, chosen.configure(small=True, epochs=2, **changes), Setup(small=True)).runs[0].final

    assert final("implicit-1d", smooth=10.0)["train_loss"] != final("implicit-1d", smooth=0.0)["train_loss"]
    still, moved = (final("implicit-spirals", noise=noise) for noise in (0.0, 2.0))
    assert still["val_accuracy"] == moved["val_accuracy"] == still["val_accuracy_moved"] != moved["val_accuracy_moved"]


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
