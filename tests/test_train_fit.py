"""`fit` and `fit_seeds`: what they compute, and what they refuse."""

import copy
import functools
import json
import math
import shutil

import pytest
import torch
from torch import nn
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from course_lib.train import Augmentation, History, NonFiniteLoss, cosine, drops, fit, fit_seeds, warmup
from course_lib.train.device import Runtime
from course_lib.train.objective import accuracy, met
from course_lib.train.optim import SCHEDULES
from course_lib.train.traced import traced_each

X = torch.linspace(-1, 1, 50)[:, None]
Y = torch.sin(3 * X)


def net(seed: int, *, width: int = 8) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


@pytest.mark.parametrize("batch_size", [None, 16])
def test_fit_takes_the_steps_of_a_hand_written_loop(batch_size):
    model, by_hand = net(0), net(0)
    history = fit(
        model,
        (X, Y),
        seed=5,
        epochs=4,
        optimizer="sgd",
        options={"momentum": 0.9},
        lr=0.1,
        schedule=cosine,
        batch_size=batch_size,
    )
    order = torch.Generator().manual_seed(5)
    opt, losses = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9), []
    for epoch in range(4):
        batches = torch.randperm(50, generator=order).split(16) if batch_size else [torch.arange(50)]
        for i, index in enumerate(batches):
            opt.param_groups[0]["lr"] = 0.1 * cosine((epoch + i / len(batches)) / 4)
            opt.zero_grad()
            loss = nn.functional.mse_loss(by_hand(X[index]), Y[index])
            loss.backward()
            opt.step()
            losses.append(loss.item())
    torch.testing.assert_close(weights(model), weights(by_hand), rtol=1e-6, atol=1e-7)
    each = torch.tensor(losses).view(4, -1).mean(1)
    torch.testing.assert_close(torch.tensor(history.loss), each, rtol=1e-6, atol=0)
    assert history.steps == len(losses) and history.lr[-1] == pytest.approx(opt.param_groups[0]["lr"])
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in by_hand.parameters()))
    assert history.grad_norm[-1] == pytest.approx(norm, rel=1e-5)


def test_fit_leaves_the_callers_random_state_alone_and_depends_on_its_seed_alone():
    def run(seed):
        model = nn.Sequential(net(0), nn.Dropout(0.5))
        return fit(model, (X, Y), seed=seed, epochs=3, batch_size=10).loss

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = run(0)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    assert run(0) == first != run(1)


def test_a_loader_gives_what_its_batches_give():
    loader = DataLoader(TensorDataset(X, Y), batch_size=10)
    model, by_hand = net(0), net(0)
    fit(model, loader, seed=0, epochs=2, optimizer="sgd", lr=0.1)
    opt = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for _ in range(2):
        for x, y in loader:
            opt.zero_grad()
            nn.functional.mse_loss(by_hand(x), y).backward()
            opt.step()
    torch.testing.assert_close(weights(model), weights(by_hand))


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("optimizer,options", [("adam", None), ("sgd", {"momentum": 0.9}), ("rmsprop", None)])
def test_each_seed_trains_as_if_alone(optimizer, options, batch_size, trace):
    settings = dict(
        optimizer=optimizer,
        options=options,
        lr=0.01,
        epochs=20,
        batch_size=batch_size,
        clip=0.5,
        schedule="cosine",
        penalty=lambda m: 1e-3 * m[0].weight.square().sum(),
        metrics={"worst": lambda p, y: (p - y).abs().max()},
    )
    together = fit_seeds(net, (X, Y), seeds=[3, 4, 11], trace=trace, **settings)
    for i, seed in enumerate([3, 4, 11]):
        alone = net(seed)
        history = fit(alone, (X, Y), seed=seed, **settings)
        torch.testing.assert_close(weights(together.models[i]), weights(alone), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            torch.tensor(together.history.loss[i]), torch.tensor(history.loss, dtype=torch.double), rtol=1e-4, atol=1e-6
        )
        assert together.history[i].grad_norm == pytest.approx(history.grad_norm, rel=1e-3)
        assert together.history[i].metrics["worst"] == pytest.approx(history.metrics["worst"], rel=1e-3)


class Odd(nn.Module):
    """A little of everything that a trace must get right: a buffer, a weight that nothing uses, views, products."""

    def __init__(self, seed: int):
        super().__init__()
        self.lift, self.unused = nn.Linear(1, 6), nn.Parameter(torch.randn(3))
        self.K, self.conv = nn.Parameter(torch.randn(6, 6) / 3), nn.Conv1d(1, 2, 3, padding=1)
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(12, 1, bias=False)
        self.register_buffer("scale", torch.rand(6))

    def forward(self, x):
        z = self.lift(x)
        for h in (0.1, 1, 0.3):
            z = z + h * torch.relu(z @ (self.K - self.K.T)) * self.scale
        z = self.conv(nn.functional.gelu(self.norm(z)).view(len(x), 1, 6))
        return self.head(z.flatten(1)) + 1 * x.expand(-1, 1) - x.mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_trace_gives_what_vmap_gives(dtype):
    def model(seed):
        return Odd(seed).to(dtype)

    data = (X.to(dtype), Y.to(dtype))
    plain, traced = (
        fit_seeds(model, data, seeds=[0, 1], epochs=12, lr=0.01, batch_size=20, trace=trace) for trace in (False, True)
    )
    near = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-10}
    for a, b in zip(plain.models, traced.models, strict=True):
        torch.testing.assert_close(weights(a), weights(b), **near)
        assert torch.equal(a.unused, b.unused) and torch.equal(a.scale, b.scale)
    assert not torch.equal(weights(plain.models[0]), weights(plain.models[1]))
    alone = net(1)  # the same again, through `auto`, in a run long enough to be traced
    fit(alone, (X, Y), seed=1, epochs=450, lr=0.01)
    together = fit_seeds(net, (X, Y), seeds=[0, 1], epochs=450, lr=0.01)
    torch.testing.assert_close(weights(together.models[1]), weights(alone), rtol=1e-2, atol=1e-3)


def test_a_trace_transposes_nothing_to_and_fro():
    def loss(W, b, x):
        return nn.functional.linear(x.tanh(), W, b).square().mean()

    arguments = torch.randn(3, 4, 4), torch.randn(3, 4), torch.randn(3, 5, 4)
    trace = traced_each(grad(loss, argnums=(0, 1, 2)), *arguments)
    transposes = [n for n in trace.graph.nodes if n.target is torch.transpose]
    assert transposes and not [n for n in transposes if n.args[0] in transposes]
    assert not [n for n in trace.graph.nodes if n.target is torch.ops.aten.view.default]
    for found, wanted in zip(trace(*arguments), vmap(grad(loss, argnums=(0, 1, 2)))(*arguments), strict=True):
        torch.testing.assert_close(found, wanted)


def test_held_out_data_are_measured_and_at_the_epochs_due_alone():
    held = (X + 0.3, Y)
    settings = dict(epochs=5, validation=held, eval_every=2, metrics={"mae": nn.functional.l1_loss})
    model = net(1)
    history, together = fit(model, (X, Y), seed=1, **settings), fit_seeds(net, (X, Y), seeds=[0, 1], **settings)
    for found in (history.metrics, together.history[1].metrics):
        assert [math.isnan(v) for v in found["val_mae"]] == [True, False, True, False, False]
        assert found["val_loss"][-1] == pytest.approx(nn.functional.mse_loss(model(held[0]), Y).item(), rel=1e-4)
        assert found["val_mae"][-1] == pytest.approx((model(held[0]) - Y).abs().mean().item(), rel=1e-4)


def test_an_evaluation_weighs_batches_by_size_without_dropout_and_training_goes_on_with_it():
    model = nn.Sequential(net(0), nn.Dropout(0.5))
    held = DataLoader(TensorDataset(X, Y), batch_size=40)  # 40 and 10
    history = fit(model, (X, Y), seed=0, epochs=2, validation=held)
    assert model.training
    model.eval()
    assert history.metrics["val_loss"][-1] == pytest.approx(nn.functional.mse_loss(model(X), Y).item(), rel=1e-5)


def test_an_incomplete_last_batch_is_left_out_where_asked():
    sizes = []
    options = {"batch_size": 16, "drop_last": True, "augment": lambda x, generator: sizes.append(len(x)) or x}
    assert fit(net(0), (X, Y), seed=0, epochs=2, **options).steps == 6 and sizes == [16] * 6


def test_a_target_is_met_where_it_is_reached_and_a_logit_of_zero_is_the_border():
    assert met(0.5, 0.5, "loss") and not met(0.51, 0.5, "val_loss") and not met(0.4, None, "loss")
    assert met(0.5, 0.5, "val_accuracy") and not met(0.49, 0.5, "accuracy")
    logits, classes = torch.tensor([[0.2], [-0.2], [-0.1], [0.1]]), torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    assert accuracy(logits, classes) == 0.75


def test_each_seed_stops_at_its_own_target():
    settings = dict(lr=0.02, epochs=200, target=0.05)
    together = fit_seeds(net, (X, Y), seeds=[0, 1, 2], **settings)
    for i in range(3):
        alone = net(i)
        history = fit(alone, (X, Y), seed=i, **settings)
        assert history.stopped == "target" and together.history.reached[i] == history.reached == history.epochs
        assert torch.tensor(together.history.loss[i, history.epochs :]).isnan().all()
        torch.testing.assert_close(weights(together.models[i]), weights(alone), rtol=1e-4, atol=1e-5)
    assert len(set(together.history.reached)) > 1  # else this shows nothing


def test_seeds_may_have_data_of_their_own():
    def data(seed):
        return X, Y + 0.1 * torch.randn(Y.shape, generator=torch.Generator().manual_seed(seed))

    together = fit_seeds(net, data, seeds=[0, 1], epochs=10, batch_size=16)
    alone = net(1)
    fit(alone, data(1), seed=1, epochs=10, batch_size=16)
    torch.testing.assert_close(weights(together.models[1]), weights(alone), rtol=1e-4, atol=1e-5)


def test_one_diverging_seed_is_recorded_while_the_others_go_on():
    def model(seed):
        m = net(seed)
        if seed == 1:
            with torch.no_grad():
                m[2].weight.mul_(1e30)
        return m

    settings = dict(seeds=[0, 1], epochs=5, optimizer="sgd", lr=0.1)
    with pytest.raises(NonFiniteLoss, match="seed 1 is not finite at step 1,"):  # infinite, not yet NaN
        fit_seeds(model, (X, Y), **settings)
    history, models = fit_seeds(model, (X, Y), on_nonfinite="record", **settings)
    assert history.diverged.tolist() == [False, True]
    alone = net(0)
    fit(alone, (X, Y), seed=0, epochs=5, optimizer="sgd", lr=0.1)
    torch.testing.assert_close(weights(models[0]), weights(alone))


def test_levenberg_marquardt_solves_a_linear_problem_in_a_step_and_a_small_net_to_precision():
    line = nn.Linear(1, 1).double()
    x, y = X.double(), Y.double()
    history = fit(line, (x, y), seed=0, epochs=3, optimizer="lm", lr=1.0, options={"damping": 1e-12})
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert line.weight.item() == pytest.approx(slope.item(), rel=1e-9)
    assert history.grad_norm[1] < 1e-9 < history.grad_norm[0]
    norms = [fit(net(0), (X, Y), seed=0, epochs=1, optimizer=name).grad_norm[0] for name in ("lm", "sgd")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    model = net(0).double()
    assert fit(model, (x, y), seed=0, epochs=60, optimizer="lm", lr=1.0).loss[-1] < 1e-7
    wide = nn.Linear(60, 1).double()  # more weights than residuals: the Jacobian goes by rows
    assert (
        fit(
            wide, (torch.eye(60).double()[:20], torch.ones(20, 1).double()), seed=0, epochs=20, optimizer="lm", lr=1.0
        ).loss[-1]
        < 1e-20
    )


def test_lbfgs_takes_back_a_step_to_where_the_loss_is_not_finite():
    class Log(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([20.0]))

        def forward(self, x):
            return x * self.w.log()

    x = torch.full((4, 1), 10.0)  # so flat at w = 20 and so curved before it that the second step makes w negative
    model = Log()
    history = fit(model, (x, x), seed=0, epochs=30, optimizer="lbfgs", lr=1.0)
    assert model.w.item() == pytest.approx(math.e, rel=1e-3) and history.loss[-1] < 1e-4
    healthy = net(0)
    assert fit(healthy, (X, Y), seed=0, epochs=20, optimizer="lbfgs", lr=1.0).loss[-1] < 1e-3


def test_schedules():
    assert [drops(0.1, at=(0.5, 0.75))(s) for s in (0, 0.5, 0.8)] == pytest.approx([1, 0.1, 0.01])
    assert [warmup(0.2)(s) for s in (0, 0.1, 0.2, 0.6)] == pytest.approx([0, 0.5, 1, 0.5])
    assert [warmup(0.2, then=cosine)(s) for s in (0.1, 0.2, 0.6, 1)] == pytest.approx([0.5, 1, 0.5, 0])
    assert [SCHEDULES["triangle"](s) for s in (0.1, 0.2, 0.6)] == pytest.approx([0.5, 1, 0.5])
    model = net(0)
    opt = torch.optim.SGD(model.parameters(), lr=1.0)
    history = fit(model, (X, Y), seed=0, epochs=4, optimizer=opt, schedule=torch.optim.lr_scheduler.StepLR(opt, 2, 0.1))
    assert history.lr == pytest.approx([1, 1, 0.1, 0.1])


def test_function_evaluations_are_counted_by_step_and_evaluation_is_left_out():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.nfe_forward, self.nfe_backward = net(0), 0, 0

        def forward(self, x):
            self.nfe_forward += 4
            self.nfe_backward += 2
            return self.net(x)

    model = Counting()
    history = fit(model, (X, Y), seed=0, epochs=2, batch_size=10, validation=(X, Y), metrics={"mae": nn.L1Loss()})
    assert history.nfe_forward == [4, 4] and history.nfe_backward == [2, 2]
    assert (model.nfe_forward, model.nfe_backward) == (4 * 10, 2 * 10)


def test_evaluations_of_seeds_that_step_together_are_those_of_a_step_too():
    class Together(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.net = net(seed)

        def forward(self, x):
            return self.net(x)

        def together(self, params, buffers, x):
            out = torch.func.vmap(lambda p, x: torch.func.functional_call(self, p, (x,)))(params, x)
            return out, torch.tensor([6.0, 8.0])

    found = fit_seeds(Together, (X, Y), seeds=[0, 1], epochs=2, batch_size=16)  # four steps an epoch
    assert found.history.nfe_forward.tolist() == [[6, 6], [8, 8]]


def test_accuracy_callback_and_history_round_trip():
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    model = nn.Linear(2, 2)
    history = fit(
        model,
        (x, y),
        "cross_entropy",
        seed=0,
        epochs=100,
        lr=0.1,
        validation=(x, y),
        metrics="accuracy",
        eval_every=2,
        target=0.95,
        monitor="val_accuracy",
    )
    right = (model(x).argmax(1) == y).double().mean().item()
    assert history.stopped == "target" and history.metrics["val_accuracy"][-1] == pytest.approx(right) and right >= 0.95
    assert math.isnan(history.metrics["val_accuracy"][0]) and history.epochs % 2 == 0
    again = History.from_dict(json.loads(json.dumps(history.to_dict(), allow_nan=False)))
    assert again.loss == history.loss and math.isnan(again.metrics["val_accuracy"][0])
    stopped = fit(net(0), (X, Y), seed=0, epochs=9, callback=lambda model, h: h.epochs == 3)
    assert stopped.stopped == "callback" and stopped.epochs == 3


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_cudnn_times_its_kernels_during_a_run_on_a_gpu_alone(device):
    before = torch.backends.cudnn.benchmark
    with Runtime(torch.device(device), None, False, False).tuned():
        assert torch.backends.cudnn.benchmark == (before or device == "cuda")
    assert torch.backends.cudnn.benchmark == before


class Reads(TorchDispatchMode):
    """Counts how often the host asks for a number: on a GPU each time it would wait for the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_never_waits_for_the_device(optimizer):
    def reads(samples: int) -> int:
        x = torch.randn(samples, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        augment, data = Augmentation(shift=1, flip=True, cutout=2), (x, torch.zeros(samples, dtype=torch.long))
        with Reads() as counter:
            fit(
                net, data, "cross_entropy", seed=0, epochs=3, optimizer=optimizer, lr=0.01, schedule="triangle",
                batch_size=8, augment=augment, clip=1.0, metrics="accuracy", validation=data,
            )  # fmt: skip
        return counter.count

    # Three epochs of 24 more steps: one read each, the check for a finite loss, which a GPU makes once an epoch.
    assert reads(8 * 32) - reads(8 * 8) == 3 * 24


# torch's own compiler needs a C++ compiler, and in torch 2.13 its batch norm does not compile without vector units.
INDUCTOR = shutil.which("g++") is not None and torch.backends.cpu.get_cpu_capability() != "DEFAULT"


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.skipif(not INDUCTOR, reason="cannot compile"))]
)
def test_compiled_training_gives_the_same_weights_and_statistics(backend, monkeypatch, tmp_path):
    # A cache that was filled under ATEN_CPU_CAPABILITY=avx2 gives code that writes beyond its arrays under AVX-512.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    models = [nn.Sequential(nn.BatchNorm1d(1), net(0)) for _ in range(2)]
    eager, compiled = (fit(m, (X, Y), seed=0, epochs=3, compile=c) for m, c in zip(models, (False, True), strict=True))
    assert (
        compiled.loss == pytest.approx(eager.loss, rel=1e-5) and compiled.compile_seconds > 0 == eager.compile_seconds
    )
    for name, value in models[0].state_dict().items():
        torch.testing.assert_close(models[1].state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"optimizer": "adagrad2"}, "optimizer='adagrad2' is unknown"),
        ({"loss": "rmse"}, "loss='rmse' is unknown"),
        ({"schedule": "wave"}, "schedule='wave' is unknown"),
        ({"batch_size": 51}, "batch_size=51 must lie between 1 and the 50 samples"),
        ({"target": 1.0, "monitor": "val_accuracy"}, "monitor='val_accuracy' is not measured"),
        ({"device": "cuda"}, "torch sees no CUDA device"),
        ({"precision": "float8"}, "precision='float8' is unknown"),
        ({"optimizer": "lm", "batch_size": 10}, "full batch"),
        ({"data": (X, Y[:9])}, "x has 50 samples and y has 9"),
        ({"data": (X[:0], Y[:0])}, "data: has no samples"),
        ({"device": "gpu"}, "device='gpu' is unknown: give 'auto'"),
        ({"epochs": 0}, "epochs=0: expected a whole number of at least 1"),
        ({"epochs": 2.5}, "epochs=2.5: expected a whole number"),
        ({"eval_every": 0}, "eval_every=0: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(change, message):
    if change == {"device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    arguments = {"data": (X, Y), "loss": "mse", "seed": 0, "epochs": 1, **copy.copy(change)}
    with pytest.raises(ValueError, match=message):
        fit(net(0), **arguments)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"batch_size": 0}, "batch_size=0 must lie between 1 and the 50 samples"),
        ({"batch_size": 51}, "batch_size=51 must lie between 1 and the 50 samples"),
        ({"optimizer": "lbfgs"}, "optimizer='lbfgs' does not act on each number alone"),
        ({"on_nonfinite": "ignore"}, "on_nonfinite='ignore' is unknown: give 'raise' or 'record'"),
        ({"epochs": -1}, "epochs=-1: expected a whole number of at least 1"),
        ({"eval_every": 0}, "eval_every=0: expected a whole number of at least 1"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_arguments_of_many_seeds_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        fit_seeds(net, (X, Y), **{"seeds": [0, 1], "epochs": 1, **change})


def test_models_that_cannot_be_stacked_are_refused():
    with pytest.raises(ValueError, match="batch norm"):
        fit_seeds(
            lambda s: nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), (X, Y), seeds=[0, 1], epochs=1
        )
    with pytest.raises(ValueError, match="differ between seeds"):
        fit_seeds(lambda s: net(s, width=4 + s), (X, Y), seeds=[0, 1], epochs=1)
