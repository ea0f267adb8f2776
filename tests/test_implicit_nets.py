"""The reversible trapezoid, and the paper's network with many runs side by side."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from course_lib.implicit import (
    ConvergenceError,
    ConvField,
    ImplicitNet,
    ReversibleTrapezoid,
    SkewField,
    ThetaLayer,
    runs_of,
    train_runs,
)
from course_lib.implicit.nets import smoothness
from course_lib.memory import saved_bytes

REAL = torch.float64


def draw(*shape: int, seed: int = 1, dtype: torch.dtype = REAL) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def mse(prediction: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (prediction - y).square().mean((0, 2))


def fields(depth: int, **options) -> list[SkewField]:
    return [SkewField(4, generator=torch.Generator().manual_seed(k), dtype=REAL, **options) for k in range(depth)]


@pytest.mark.parametrize("shared", [False, True])
def test_reversible_gradients_are_those_of_plain_layers(shared):
    F = fields(1) * 5 if shared else fields(5)
    x = draw(3, 4).requires_grad_()
    reversible = ReversibleTrapezoid(F, h=0.4, tol=1e-13)
    plain = nn.Sequential(*[ThetaLayer(f, h=0.4, tol=1e-13) for f in F])
    ours = torch.autograd.grad(reversible(x).square().sum(), (x, *reversible.parameters()))
    theirs = torch.autograd.grad(plain(x).square().sum(), (x, *plain.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    assert (reversible.reconstructed - x).abs().max() < 1e-11


def test_reversible_convolutions_pass_gradcheck():
    F = [ConvField(2, generator=torch.Generator().manual_seed(k), dtype=REAL) for k in range(3)]
    net = ReversibleTrapezoid(F, h=0.3, tol=1e-13)
    x = draw(2, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *parameters: net(x), (x, *net.parameters()))


def test_reversible_memory_does_not_grow_with_depth():
    x = draw(8, 4).requires_grad_()
    used, plain = [], []
    for depth in (2, 16):
        net = ReversibleTrapezoid(fields(depth), h=0.2)
        used.append(saved_bytes(lambda net=net: net(x), exclude=net.parameters()))
        stack = nn.Sequential(*[ThetaLayer(F, h=0.2) for F in fields(depth)])
        plain.append(saved_bytes(lambda stack=stack: stack(x), exclude=stack.parameters()))
    assert used[0] == used[1] == 8 * 4 * 8
    assert plain[1] == pytest.approx(8 * plain[0], rel=0.1)


def test_the_tolerance_is_the_error_of_the_reconstruction():
    x = draw(8, 4)
    errors = []
    for tol in (1e-3, 1e-6, 1e-9):
        net = ReversibleTrapezoid(fields(10), h=0.5, tol=tol, solver="fixed_point")
        net(x.clone().requires_grad_()).sum().backward()
        errors.append((net.reconstructed - x).abs().max().item())
    assert errors[0] > 50 * errors[1] > 2500 * errors[2] > 0
    assert errors[2] < 1e-7


def test_reversible_training_says_when_it_cannot_solve():
    F = SkewField(4, generator=torch.Generator().manual_seed(0), dtype=REAL)
    with pytest.raises(ConvergenceError):
        ReversibleTrapezoid([F], h=50.0, solver="fixed_point")(draw(3, 4))
    with pytest.raises(ConvergenceError, match="after 1 iteration "):
        ReversibleTrapezoid([F], h=0.5, max_iter=1)(draw(3, 4))


def test_reversible_fields_may_have_parameters_that_they_do_not_use():
    F = fields(1)[0]
    F.spare = nn.Parameter(torch.ones(2, dtype=REAL))
    net = ReversibleTrapezoid([F], h=0.3)
    net(draw(3, 4)).square().sum().backward()
    assert F.K.grad.any() and F.spare.grad is None


def test_a_second_derivative_is_refused():
    x = draw(3, 4).requires_grad_()
    net = ReversibleTrapezoid(fields(2), h=0.3)
    (slope,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_reversible_fields_keep_the_shape_and_their_parameters():
    with pytest.raises(ValueError, match=r"F: made \(3, 1\) from \(3, 4\)"):
        ReversibleTrapezoid([nn.Linear(4, 1).double()], h=0.1)(draw(3, 4))
    net, x = ReversibleTrapezoid(fields(2), h=0.3), draw(3, 4)
    other = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
    y = torch.func.functional_call(net, other, (x,))
    with pytest.raises(RuntimeError, match="fields: their parameters are not those of the forward pass"):
        y.sum().backward()


def one_run(seed: int, theta: float, depth: int = 2) -> ImplicitNet:
    return ImplicitNet(1, 5, depth, 1, seeds=[seed], h=0.5, theta=theta, dtype=REAL)


def data(runs: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.linspace(-1, 1, 16, dtype=REAL)[:, None, None].expand(16, runs, 1)
    return x, torch.sin(3 * x)


def test_runs_are_independent_and_as_if_alone():
    r = runs_of(theta=(0.0, 0.5), lr=(0.01, 0.05), seed=range(2))
    net = ImplicitNet(1, 5, 2, 1, seeds=r["seed"], h=0.5, theta=r["theta"], dtype=REAL)
    options = {"epochs": 10, "batch_size": 4, "smooth": 0.1}
    together = train_runs(net, data(8), mse, lr=r["lr"], validation=data(8), **options)
    for k in (0, 3, 5, 6):
        alone = train_runs(one_run(int(r["seed"][k]), float(r["theta"][k])), data(1), mse, lr=float(r["lr"][k]),
                           validation=data(1), **options)
        torch.testing.assert_close(together["train"][k], alone["train"][0], rtol=1e-6, atol=1e-9)


def test_parameters_of_a_run_are_the_papers_count():
    # A full 5 × 5 matrix and a bias a layer, 10 numbers in the opening map, 6 in the head.
    assert [one_run(0, 0.5, depth).weights_per_run() for depth in (5, 10, 20)] == [166, 316, 616]


def test_a_run_that_diverges_is_retired_and_leaves_the_others_alone():
    net = ImplicitNet(1, 5, 2, 1, seeds=[0, 0], h=0.5, theta=0.5, activation="relu", dtype=REAL)
    result = train_runs(net, data(2), mse, epochs=15, lr=[0.02, 1e4], validation=data(2))
    assert result["diverged"].tolist() == [False, True]
    assert torch.isfinite(result["train"]).all() and result["train"][0, -1] < result["train"][0, 0]


def test_a_run_counts_as_diverged_from_a_loss_of_a_hundred():
    net = ImplicitNet(1, 5, 1, 1, seeds=range(3), h=0.5, dtype=REAL)
    loss = lambda p, y: 0 * p.sum((0, 2)) + torch.tensor([99.0, 101.0, math.nan], dtype=REAL)  # noqa: E731
    result = train_runs(net, data(3), loss, epochs=1, lr=0.1, validation=data(3))
    assert result["diverged"].tolist() == [False, True, True]
    net(data(3)[0])  # at the next evaluation
    assert all(p[0].any() or not p[1:].any() for p in net.parameters())
    assert not any(p[1:].any() for p in net.parameters())


def test_smoothness_is_the_integral_it_approaches():
    h, depth = 0.1, 20
    net = ImplicitNet(1, 2, depth, 1, seeds=range(2), h=h, dtype=REAL)
    K = torch.tensor([[1.0, 2.0], [0.0, -1.0]], dtype=REAL)
    with torch.no_grad():
        for k, layer in enumerate(net.layers):  # K(t) = t K for the first run, constant for the second
            layer.F.K.copy_(torch.stack([k * h * K, K]))
    torch.testing.assert_close(smoothness(net), torch.tensor([6.0 * (depth - 1) * h, 0.0], dtype=REAL))


def test_losses_are_taken_when_asked_and_at_the_end():
    net = one_run(0, 0.5)
    result = train_runs(net, data(1), mse, epochs=10, lr=0.1, validation=data(1), eval_every=4)
    assert result["epoch"].tolist() == [4, 8, 10] and result["train"].shape == (1, 3)
    torch.testing.assert_close(result["train"][:, -1], mse(net(data(1)[0]), data(1)[1]).detach())


def test_weights_start_as_glorots_and_options_reach_the_layers():
    net = ImplicitNet(3, 80, 2, 3, seeds=[1, 1, 2], h=0.5, gradient="phantom", guess="euler", solver="newton", tol=1e-3)
    for weight, fans in ((net.opening, 83), (net.layers[1].F.K, 160), (net.head, 83)):
        assert 0.98 * math.sqrt(6 / fans) < weight.abs().max() <= math.sqrt(6 / fans)
        assert torch.equal(weight[0], weight[1]) and not torch.equal(weight[0], weight[2])
    assert not net.opening_b.any() and not net.head_b.any()
    for layer in net.layers:
        s = layer.settings
        assert (layer.gradient, layer.guess, s.solver, s.tol, layer.h) == ("phantom", "euler", "newton", 1e-3, 0.5)


def test_one_rate_a_run_needs_sgd():
    net = ImplicitNet(1, 5, 2, 1, seeds=[0, 1], h=0.5, dtype=REAL)
    with pytest.raises(ValueError, match="lr: expected one rate, or 2, one a run, got 3"):
        train_runs(net, data(2), mse, epochs=1, lr=[0.1, 0.2, 0.3], validation=data(2))
    with pytest.raises(ValueError, match="theta: expected one number, or 3, one a run, got 2"):
        ImplicitNet(1, 5, 2, 1, seeds=range(3), h=0.5, theta=(0.0, 0.5))
    with pytest.raises(ValueError, match="lr: one rate a run"):
        train_runs(net, data(2), mse, epochs=1, lr=[0.1, 0.2], validation=data(2), optimizer="adam")
