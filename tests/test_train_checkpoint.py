"""Nothing is lost: kills, interrupts, full disks, damaged files, losses that blow up."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from course_lib.train import CheckpointError, NonFiniteLoss, fit
from course_lib.train import checkpoint as ckpt

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = X.square().sum(1, keepdim=True)


def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))


def noisy(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return x + 0.1 * torch.randn(x.shape, generator=generator)


def train(net: nn.Module, path=None, *, loader: bool = False, epochs: int = 8, **changes):
    """A run in which everything is random that can be: order, augmentation, dropout; schedule and momentum besides."""
    data = DataLoader(TensorDataset(X, Y), batch_size=10, shuffle=True) if loader else (X, Y)
    settings = dict(
        seed=3,
        epochs=epochs,
        optimizer="sgd",
        options={"momentum": 0.9},
        lr=0.01,
        schedule="cosine",
        batch_size=None if loader else 10,
        augment=noisy,
        validation=(X, Y),
        save_seconds=0,
        checkpoint=path,
    )
    return fit(net, data, **{**settings, **changes})


def same(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("loader", [False, True])
def test_interrupted_at_any_batch_and_resumed_is_bit_for_bit_the_same(tmp_path, loader):
    whole = model()
    history = train(whole, loader=loader)
    for k in (1, 7, 18, 31):  # steps of 48, in the middle and at the end of epochs of 6
        path, count = tmp_path / f"{k}.pt", 0

        def interrupting(x, generator, k=k):
            nonlocal count
            count += 1
            if count == k:
                os.kill(os.getpid(), signal.SIGINT)
            return noisy(x, generator)

        first = train(model(), path, loader=loader, augment=interrupting)
        assert first.stopped == "interrupted" and first.epochs < 8
        again = model()
        rest = train(again, path, loader=loader)
        assert rest.stopped == "epochs" and same(whole, again) and rest.loss == history.loss
        assert rest.metrics == history.metrics and rest.steps == history.steps == 48
        assert rest.seconds == sorted(rest.seconds)


@pytest.mark.parametrize("loader", [False, True])
def test_a_run_in_pieces_by_deadlines_is_bit_for_bit_one_run(tmp_path, loader):
    whole, pieces, steps = model(), model(), []
    history = train(whole, loader=loader, epochs=2)
    for _ in range(11):  # a deadline that is over lets one batch through; 12 batches
        part = train(model(), tmp_path / "run.pt", loader=loader, epochs=2, deadline=0)
        assert part.stopped == "interrupted"
        steps.append(part.epochs)
    assert steps == [0] * 5 + [1] * 6
    rest = train(pieces, tmp_path / "run.pt", loader=loader, epochs=2, deadline=time.monotonic() + 3600)
    assert rest.stopped == "epochs" and same(whole, pieces) and rest.loss == history.loss


def press_ctrl_c_after(epoch: int):
    """A callback."""
    return lambda net, history: signal.raise_signal(signal.SIGINT) if history.epochs == epoch else None


def test_a_torch_scheduler_goes_on_where_it_was(tmp_path):
    def run(path=None, callback=None):
        net = model()
        opt = torch.optim.SGD(net.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(opt, 2, 0.1)
        return train(net, path, optimizer=opt, options=None, schedule=schedule, epochs=6, callback=callback)

    first = run(tmp_path / "run.pt", press_ctrl_c_after(3))
    assert first.stopped == "interrupted" and first.epochs == 3
    whole, rest = run(), run(tmp_path / "run.pt")
    assert rest.lr == whole.lr == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]) and rest.loss == whole.loss


def test_evaluations_a_step_of_an_epoch_in_two_parts_are_those_of_each(tmp_path):
    class Counting(nn.Linear):
        nfe_forward = nfe_backward = 0

        def forward(self, x):
            self.nfe_forward += 4
            return super().forward(x)

    for _ in range(9):  # a batch each, of 6 an epoch
        train(Counting(4, 1), tmp_path / "run.pt", epochs=3, deadline=0)
    assert train(Counting(4, 1), tmp_path / "run.pt", epochs=3).nfe_forward == [4, 4, 4]


KILLED = """
import os, random, signal, sys, time
import torch
from test_train_checkpoint import model, train
path, kills = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
chance = random.Random()

def written():
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0

for k in range(kills + 1):
    pid, seen, left = os.fork(), written(), chance.randint(1, 10)
    if pid == 0:
        net = model()
        train(net, path, epochs=60)
        torch.save(net.state_dict(), path + ".final")
        os._exit(0)
    if k == kills:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    while left:  # some epochs
        if (now := written()) != seen:
            seen, left = now, left - 1
    time.sleep(chance.uniform(0, 0.02))  # and any moment of one, saving included
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(torch.load(path, weights_only=True)["epoch"], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path):
    whole, path = model(), str(tmp_path / "run.pt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the killed process: other threads, other rounding
    try:
        train(whole, str(tmp_path / "whole.pt"), epochs=60)
    finally:
        torch.set_num_threads(threads)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, path, "5"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    reached = [int(line) for line in done.stdout.split()]
    assert len(reached) == 5 and reached == sorted(reached) and 0 < reached[-1] < 60, reached
    final = torch.load(path + ".final", weights_only=True)
    assert all(torch.equal(final[k], v) for k, v in whole.state_dict().items())
    assert {p.name for p in tmp_path.iterdir()} == {"run.pt", "run.pt.final", "whole.pt"}


def test_a_finished_run_is_not_run_again(tmp_path):
    path, net = tmp_path / "a.pt", model()
    history = train(net, path)
    again = model()
    assert train(again, path) == history and same(net, again)


def test_a_run_that_met_its_target_is_not_trained_on(tmp_path):
    first, again = model(), model()
    history = train(first, tmp_path / "a.pt", target=1e9)
    assert history.stopped == "target" and history.epochs == 1
    assert train(again, tmp_path / "a.pt", target=1e9) == history and same(first, again)


def test_what_killed_runs_have_left_beside_the_checkpoint_is_cleared(tmp_path):
    (tmp_path / ".run.pt.4711.part").write_bytes(b"half")
    (tmp_path / ".other.pt.4711.part").write_bytes(b"not ours")
    train(model(), tmp_path / "run.pt", epochs=1)
    assert {path.name for path in tmp_path.iterdir()} == {"run.pt", ".other.pt.4711.part"}


def test_weights_that_are_not_finite_never_replace_good_ones(tmp_path):
    def spoil(net, history):
        if history.epochs == 2:
            with torch.no_grad():
                net[0].weight[0, 0] = torch.nan

    with pytest.raises(NonFiniteLoss, match=r"a weight is not finite at step 12.*run\.pt"):
        train(model(), tmp_path / "run.pt", callback=spoil)
    assert ckpt.load(tmp_path / "run.pt")["epoch"] == 1


def test_a_checkpoint_of_other_settings_is_refused_by_what_differs(tmp_path):
    train(model(), tmp_path / "a.pt")
    for change, message in (
        ({"lr": 0.02}, "groups was .*'lr': 0.01.* now .*'lr': 0.02.*; lr was|lr was 0.01, now 0.02"),
        ({"options": {"momentum": 0.8}}, "groups was .*'momentum': 0.9.* now .*'momentum': 0.8"),
        ({"schedule": None}, "schedule was 'cosine', now 'NoneType'"),
        ({"loss": "smooth_l1"}, "loss was 'mse', now 'smooth_l1'"),
    ):
        with pytest.raises(CheckpointError, match=rf"a\.pt belongs to another run: .*({message})"):
            train(model(), tmp_path / "a.pt", **change)
    net = model()  # hyperparameters inside an optimizer object count too
    for decay in (0.0, 0.1):
        opt = torch.optim.SGD([{"params": net.parameters(), "weight_decay": decay}], lr=0.01)
        settings = {"optimizer": opt, "options": None, "epochs": 1}
        if not decay:
            train(net, tmp_path / "b.pt", **settings)
        else:
            with pytest.raises(CheckpointError, match=r"b\.pt belongs to another run: groups was"):
                train(net, tmp_path / "b.pt", **settings)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "pickle", "folder"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "a.pt"
    train(model(), path)
    whole = path.read_bytes()
    if damage == "pickle":  # a file that would run code
        torch.save({"format": ckpt.FORMAT, "evil": Evil(tmp_path / "ran")}, path)
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes({"cut": whole[:middle], "flip": flipped, "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(CheckpointError, match=r"checkpoint .*a\.pt is damaged or not a checkpoint") as error:
        train(model(), path)
    assert not (tmp_path / "ran").exists() and "\n" not in str(error.value)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_every_flipped_byte_of_the_weights_is_noticed(tmp_path):
    path = tmp_path / "a.pt"
    weights = torch.arange(1000.0)
    ckpt.save(path, {"w": weights})
    whole = bytearray(path.read_bytes())
    start = bytes(whole).index(weights.numpy().tobytes())
    for at in range(start, start + 4000, 97):
        path.write_bytes(bytes(whole[:at]) + bytes([whole[at] ^ 16]) + bytes(whole[at + 1 :]))
        with pytest.raises(CheckpointError):
            ckpt.load(path)


@pytest.mark.parametrize("where", ["/proc/run.pt", "{tmp}/file/run.pt"])
def test_a_place_that_cannot_be_written_is_found_before_the_first_step(tmp_path, where):
    if where.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("no read-only file system at hand")
    (tmp_path / "file").write_text("not a folder")
    steps = []
    with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*run\.pt: "):
        train(model(), where.format(tmp=tmp_path), augment=lambda x, g: steps.append(1) or x)
    assert not steps


def test_a_full_disk_is_found_before_the_first_step_and_leaves_the_old_checkpoint_whole(tmp_path):
    path, steps = tmp_path / "run.pt", []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
        with pytest.raises(CheckpointError, match=r"cannot write checkpoint .*run\.pt: .*free some space"):
            train(model(), path, augment=lambda x, g: steps.append(1) or x)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not steps and list(tmp_path.iterdir()) == []

        def fill_up(net, history):
            if history.epochs == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))

        with pytest.raises(CheckpointError, match="free some space"):
            train(model(), path, callback=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"] and ckpt.load(path)["epoch"] == 1
    whole, again = model(), model()
    train(whole)
    train(again, path)
    assert same(whole, again)


def test_a_loss_that_blows_up_names_step_rate_and_last_good_checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 1))
    with pytest.raises(NonFiniteLoss, match=r"not finite at step \d+, learning rate 0.7; last good.*run\.pt") as error:
        fit(net, (X, Y), seed=0, epochs=200, optimizer="sgd", lr=0.7, batch_size=30, checkpoint=path, save_seconds=0)
    kept = ckpt.load(path)
    assert 0 < error.value.step <= 400 and kept["epoch"] == (error.value.step - 1) // 2
    assert all(torch.isfinite(w).all() for w in kept["model"].values())
    with pytest.raises(NonFiniteLoss, match="no checkpoint was kept"):
        fit(net, (X, Y), seed=0, epochs=200, optimizer="sgd", lr=0.7)


def test_a_second_ctrl_c_stops_at_once_and_the_handler_is_given_back():
    def press_twice(x, generator):
        # Raised in this thread: two signals sent to a process of several threads can arrive as one. The pause lets
        # the handler of the first run before the second comes, also where other threads ask for the interpreter.
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.05)
        return x

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(model(), augment=press_twice)
    assert signal.getsignal(signal.SIGINT) is before
