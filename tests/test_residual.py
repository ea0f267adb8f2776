"""Residual and plain nets: Euler's arithmetic, initial weights, gradients against autograd, blocks in and out, cost."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from course_lib.integrators import solve
from course_lib.residual import (
    ACTIVATIONS,
    INITS,
    DeepNet,
    ResidualBlock,
    count_multiply_adds,
    count_weights,
    gradient_probe,
    initialise,
    layer,
    plain_net,
    residual_net,
    with_block,
    without_blocks,
)

F64 = {"dtype": torch.float64}


def batch(*shape, seed=0, **options):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("h", [1.0, 0.25])
def test_net_is_euler_to_the_last_bit(activation, h):
    net = residual_net(6, 12, h=h, activation=activation, seed=0)
    x = batch(30, 6)
    path = solve(lambda t, x: net.blocks[int(t / h)].F(x), x, torch.arange(13) * h, method="euler")
    assert torch.equal(torch.stack(net.states(x)), path)
    assert torch.equal(net(x), path[-1])


def test_plain_net_is_the_composition_of_its_layers():
    net = plain_net(4, 3, n_in=2, n_out=1, seed=1)
    x = batch(5, 2)
    expected = net.opening(x)
    for block in net.blocks:
        expected = torch.tanh(expected @ block[0].weight.T + block[0].bias)
    assert torch.allclose(net(x), net.head(expected))
    assert net(x).shape == (5, 1)


@pytest.mark.parametrize(
    ("init", "std", "bound"),
    [("pytorch", (1 / 3 / 400) ** 0.5, 0.05), ("glorot", (2 / 600) ** 0.5, 0.1), ("he", (2 / 400) ** 0.5, None),
     ("small", (0.01 / 400) ** 0.5, None)],
)  # fmt: skip
def test_initial_weights_have_the_stated_law(init, std, bound):
    linear = initialise(nn.Linear(400, 200), init, generator=torch.Generator().manual_seed(0))
    assert linear.weight.std().item() == pytest.approx(std, rel=0.02)
    assert abs(linear.weight.mean().item()) < 4 * std / 80_000**0.5
    if bound is not None:
        assert bound * 0.99 < linear.weight.abs().max().item() <= bound
    assert (linear.bias.abs().max().item() > 0) == (init == "pytorch")


def test_zero_block_is_the_identity_and_learns_with_tanh_only():
    x, y = batch(20, 3), batch(20, 3, seed=1)
    for activation, learns in (("tanh", True), ("relu", False)):
        block = ResidualBlock(layer(3, 3, activation=activation, init="zero"))
        assert torch.equal(block(x), x)
        assert (gradient_probe(DeepNet([block]), x, y).weights.item() > 0) == learns


def test_seed_decides_the_weights():
    x = batch(4, 5)
    assert torch.equal(residual_net(5, 3, seed=7)(x), residual_net(5, 3, seed=7)(x))
    assert not torch.equal(residual_net(5, 3, seed=7)(x), residual_net(5, 3, seed=8)(x))
    torch.manual_seed(3)
    first = residual_net(5, 3)(x)
    torch.manual_seed(3)
    assert torch.equal(residual_net(5, 3)(x), first)


@pytest.mark.parametrize("make", [plain_net, residual_net])
def test_gradient_probe_agrees_with_backward(make):
    net = make(6, 5, n_in=2, n_out=1, seed=0, **F64)
    x, y = batch(8, 2, **F64), batch(8, 1, seed=1, **F64)
    probe = gradient_probe(net, x, y)
    nn.functional.mse_loss(net(x), y).backward()
    by_hand = [torch.cat([p.grad.flatten() for p in block.parameters()]).norm() for block in net.blocks]
    assert torch.allclose(probe.weights, torch.stack(by_hand))
    assert probe.states.shape == (6,)
    # The gradient in x_0 is the opening layer's bias gradient, sample by sample: their sum is what the bias collects.
    one = gradient_probe(net, x[:1], y[:1])
    net.zero_grad()
    nn.functional.mse_loss(net(x[:1]), y[:1]).backward()
    assert one.states[0].item() == pytest.approx(net.opening.bias.grad.norm().item())


def test_gradients_of_known_blocks_explode_as_computed():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = nn.Parameter(torch.tensor(0.5, **F64))

        def forward(self, x):
            return self.c * x

    net = DeepNet(ResidualBlock(Half()) for _ in range(20))
    x = torch.ones(1, 1, **F64)
    states = gradient_probe(net, x, torch.zeros(1, 1, **F64)).states
    assert (states[0] / states[-1]).item() == pytest.approx(1.5**20, rel=1e-12)


def test_blocks_out_and_in_again():
    net = residual_net(4, 6, n_in=2, n_out=1, seed=0)
    x = batch(9, 2)
    less = without_blocks(net, [1, 4])
    assert [id(b) for b in less.blocks] == [id(net.blocks[k]) for k in (0, 2, 3, 5)]
    back = with_block(with_block(less, 1, net.blocks[1]), 4, net.blocks[4])
    assert torch.equal(back(x), net(x))
    assert not torch.equal(less(x), net(x))
    assert len(net.blocks) == 6
    last = with_block(net, 6, ResidualBlock(layer(4, 4, init="zero")))
    assert torch.equal(last(x), net(x))


def test_costs_are_counted():
    x = torch.zeros(1, 3)
    own, shared = residual_net(8, 10, n_in=3, n_out=2), residual_net(8, 10, n_in=3, n_out=2, shared=True)
    assert count_weights(own) == (3 * 8 + 8) + 10 * (8 * 8 + 8) + (8 * 2 + 2)
    assert count_weights(shared) == (3 * 8 + 8) + (8 * 8 + 8) + (8 * 2 + 2)
    assert count_multiply_adds(own, x) == count_multiply_adds(shared, x) == 3 * 8 + 10 * 8 * 8 + 8 * 2
    assert count_multiply_adds(own, torch.zeros(5, 3)) == 5 * count_multiply_adds(own, x)


@pytest.mark.parametrize("make", [plain_net, residual_net, lambda *a, **k: residual_net(*a, shared=True, **k)])
def test_seeds_stack_under_torch_func(make):
    nets = [make(4, 3, n_in=2, n_out=1, seed=s) for s in range(3)]
    x = batch(7, 2)
    base = copy.deepcopy(nets[0]).to("meta")  # functional_call does not put shared weights back into its module
    stacked = vmap(lambda p, b: functional_call(base, (p, b), (x,)))(*stack_module_state(nets))
    assert torch.allclose(stacked, torch.stack([net(x) for net in nets]), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: residual_net(4, 0), "depth: expected a whole number of at least 1, got 0"),
        (lambda: plain_net(2.5, 3), "width: expected a whole number of at least 1, got 2.5"),
        (lambda: plain_net(4, 3, init="xavier"), "init: 'xavier' is unknown; choose one of " + ", ".join(INITS)),
        (lambda: plain_net(4, 3, activation="sine"), "activation: 'sine' is unknown; choose one of tanh, relu"),
        (lambda: without_blocks(plain_net(4, 3), [3]), "drop: [3] names a block that is not there; this net has"),
        (lambda: with_block(plain_net(4, 3), 4, nn.Identity()), "at: 4 is not a place from 0 to 3"),
    ],
)
def test_bad_input_is_one_line_that_names_the_argument(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
