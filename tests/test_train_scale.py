"""Several processes under torchrun: the same training as in one, and no hang when one of them dies."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib.train import fit

pytest.importorskip("lightning_fabric", reason="several processes are an extra: pip install 'course_lib[scale]'")

SCRIPT = """
import json, os, sys
import torch
sys.path.insert(0, {tests!r})
from test_train_scale import train
from course_lib.train.scale import launch, under_torchrun
torch.set_num_threads(1)
assert under_torchrun()
fabric = launch(accelerator="cpu")
history = train(fabric=fabric, **json.loads(sys.argv[2]))
if fabric.global_rank == 0:
    json.dump(history.to_dict(), open(sys.argv[1], "w"))
"""


def train(fabric=None, checkpoint=None, die_at=0, deadlines=()):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(96, 6, generator=g)
    y = x.square().sum(1, keepdim=True)
    with torch.random.fork_rng():
        torch.manual_seed(1 if fabric is None or fabric.global_rank == 0 else 2)  # the first process's weights count
        model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 1))

    def die(model, history):
        if fabric is not None and fabric.global_rank == 1 and history.epochs == die_at:
            os._exit(3)

    return fit(
        model,
        (x, y),
        seed=3,
        epochs=6,
        optimizer="sgd",
        options={"momentum": 0.9},
        lr=0.02,
        batch_size=32,
        clip=1.0,
        schedule="cosine",
        metrics={"worst": lambda p, y: (p - y).abs().max()},
        validation=(x, y),
        checkpoint=checkpoint,
        save_seconds=0,
        device="cpu",
        deadline=math.inf if fabric is None or not deadlines else deadlines[fabric.global_rank],
        fabric=fabric,
        callback=die,
    )


def torchrun(out: Path, *, timeout: float = 120, **settings) -> subprocess.CompletedProcess:
    script = out.with_suffix(".py")
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    return subprocess.run(
        [*command, str(out), json.dumps(settings)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )


def test_two_processes_train_as_one_and_take_up_its_checkpoint(tmp_path):
    alone = train()
    done = torchrun(tmp_path / "two.json", checkpoint=str(tmp_path / "run.pt"))
    assert done.returncode == 0, done.stderr
    two = json.loads((tmp_path / "two.json").read_text())
    assert two["loss"] == pytest.approx(alone.loss, rel=1e-4)
    assert two["metrics"]["val_loss"] == pytest.approx(alone.metrics["val_loss"], rel=1e-4)
    assert two["grad_norm"] == pytest.approx(alone.grad_norm, rel=1e-3) and two["lr"] == alone.lr
    assert train(checkpoint=tmp_path / "run.pt").loss == pytest.approx(
        two["loss"], rel=1e-12
    )  # finished: read, not run


def test_a_deadline_of_one_process_stops_all_at_the_same_epoch(tmp_path):
    done = torchrun(tmp_path / "short.json", checkpoint=str(tmp_path / "run.pt"), deadlines=[1e18, 0])
    assert done.returncode == 0, done.stderr
    short = json.loads((tmp_path / "short.json").read_text())
    assert short["stopped"] == "interrupted" and len(short["loss"]) == 1
    assert train(checkpoint=tmp_path / "run.pt").loss == pytest.approx(train().loss, rel=1e-4)


def test_one_process_dying_ends_the_job_with_an_error(tmp_path):
    start = time.monotonic()
    done = torchrun(tmp_path / "dead.json", die_at=2)
    assert done.returncode != 0 and time.monotonic() - start < 60
    assert "exitcode" in done.stderr and not (tmp_path / "dead.json").exists()


def test_a_batch_that_cannot_be_shared_is_refused():
    from course_lib.train.batches import TensorBatches
    from course_lib.train.device import runtime

    run = runtime(nn.Linear(1, 1), device="cpu")
    with pytest.raises(ValueError, match=r"a batch of 32 .* cannot be shared evenly by 3 processes"):
        TensorBatches(torch.zeros(96, 1), torch.zeros(96, 1), run, batch_size=32, world=3)
