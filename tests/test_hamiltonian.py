"""Hamiltonian and antisymmetric layers: adjoints, agreement with the integrators, inversion, the published network."""

import math

import pytest
import torch

from course_lib import hamiltonian
from course_lib.hamiltonian import (
    AntisymmetricConv2d,
    AntisymmetricDense,
    ChannelZeroPadding,
    Conv2d,
    Dense,
    HamiltonianConv2d,
    HamiltonianDense,
    adjoint_gap,
    hamiltonian_network,
    summary,
)
from course_lib.integrators import solve

DOUBLE = torch.float64
METHODS = ("euler", "midpoint", "symplectic_euler", "verlet", "leapfrog")
REVERSIBLE = METHODS[2:]


def draw(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def dense(width=6, seed=0, **options):
    options = {"steps": 8, "h": 0.1, **options}
    layer = HamiltonianDense(width, generator=torch.Generator().manual_seed(seed), **options).double()
    with torch.no_grad():
        for k, b in enumerate(layer.b):
            b.copy_(draw(width // 2, seed=10 + k))
    return layer


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(9, 9), (10, 8)], ids=["odd", "even"])
def test_convolution_and_transposed_convolution_are_adjoint(stride, padding, dilation, size):
    K, W, z = Conv2d(stride, padding, dilation, size=size), draw(4, 3, 3, 3), draw(2, 3, *size, seed=1)
    y = draw(*K.apply(W, z).shape, seed=2)
    assert adjoint_gap(K, W, z, y) < 1e-15


def test_stride_two_without_the_size_loses_a_row():
    K, W, z = Conv2d(stride=2), draw(4, 3, 3, 3), draw(2, 3, 8, 8)
    assert K.adjoint(W, K.apply(W, z)).shape == (2, 3, 7, 7)
    assert adjoint_gap(Dense(), draw(4, 3), draw(5, 3), draw(5, 4)) < 1e-15


def test_the_gap_sees_a_kernel_that_is_not_shared():
    K, W, z, y = Conv2d(), draw(3, 3, 3, 3), draw(2, 3, 8, 8), draw(2, 3, 8, 8, seed=2)
    flipped = (K.apply(W, z) * y).sum() - (z * K.adjoint(W.flip(2, 3), y)).sum()
    assert flipped.abs() / (K.apply(W, z).norm() * y.norm()) > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_layer_is_the_integrator_on_its_own_field(method):
    for layer, x in (
        (dense(method=method), draw(5, 6)),
        (HamiltonianConv2d(4, steps=8, h=0.1, method=method, generator=seeded()).double(), draw(2, 4, 5, 5)),
    ):
        path = solve(layer.field(), x, torch.linspace(0, 0.8, 9), method=method)
        assert torch.allclose(layer(x), path[-1], atol=1e-12)


@pytest.mark.parametrize(("method", "order"), list(zip(METHODS, (1, 2, 1, 2, 2), strict=True)))
@torch.no_grad()
def test_observed_order_of_the_layers(method, order):
    x = draw(5, 6)
    exact = dense(steps=2000, h=1 / 2000, method="midpoint")(x)
    errors = [float((dense(steps=n, h=1 / n, method=method)(x) - exact).norm()) for n in (16, 64)]
    assert math.log(errors[0] / errors[1], 4) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_flow_keeps_the_energy_and_euler_does_not(activation):
    x = draw(5, 6)
    with torch.no_grad():
        drift = {}
        for method in ("midpoint", "euler"):
            layer = dense(method=method, activation=activation, steps=2000, h=1 / 1000)
            drift[method] = float((layer.energy(layer(x)) / layer.energy(x) - 1).abs().max())
        gradient = torch.func.jacrev(lambda v: layer.energy(v[None])[0])(x[0])
    assert drift["midpoint"] < 1e-6 < 1e-4 < drift["euler"]
    assert abs(float((gradient @ layer.field()(0.0, x)[0]).detach())) < 1e-13  # H' = 0 along the field


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@torch.no_grad()
def test_each_steps_field_keeps_its_own_energy_which_is_zero_at_rest(activation):
    layer, x = dense(activation=activation, shared=False, steps=3), draw(5, 6)
    slope = torch.func.jacrev(lambda v: layer.energy(v[None], 2)[0])(x[0])
    assert abs(float(slope @ layer.field(2)(0.0, x)[0])) < 1e-13
    for b in layer.b:
        b.zero_()
    assert layer.energy(0 * x).abs().max() < 1e-15


@pytest.mark.parametrize("method", REVERSIBLE)
@pytest.mark.parametrize("shared", [True, False])
def test_inverse_recovers_the_input(method, shared):
    layer, x = dense(method=method, shared=shared), draw(5, 6)
    assert torch.allclose(layer.inverse(layer(x)), x, atol=1e-14)
    assert (layer(x) - x).norm() > 0.1


def test_euler_cannot_be_undone():
    with pytest.raises(ValueError, match="method: 'euler' cannot be undone"):
        dense(method="euler").inverse(draw(5, 6))
    with pytest.raises(ValueError, match="reversible: 'midpoint' cannot be undone"):
        dense(method="midpoint", reversible=True)


def test_shared_weights_are_one_set_and_unshared_ones_one_a_step():
    assert sum(p.numel() for p in dense(width=6, steps=8).parameters()) == 3 * 3 + 2 * 3
    assert sum(p.numel() for p in dense(width=6, steps=8, shared=False).parameters()) == 8 * (3 * 3 + 2 * 3)
    a, x = dense(shared=False, method="verlet"), draw(5, 6)
    with torch.no_grad():
        for k in range(1, 8):
            a.K[k].copy_(a.K[0])
            a.b[k].copy_(a.b[0])
            a.b[8 + k].copy_(a.b[8])
    b = dense(method="verlet")
    with torch.no_grad():
        b.K[0].copy_(a.K[0])
        b.b[0].copy_(a.b[0])
        b.b[1].copy_(a.b[8])
    assert torch.allclose(a(x), b(x), atol=1e-14)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (AntisymmetricDense(5, steps=1, h=1.0, gamma=0.3, generator=seeded()), draw(4, 5)),
        (AntisymmetricConv2d(3, steps=1, h=1.0, gamma=0.3, activation="tanh", generator=seeded()), draw(1, 3, 4, 4)),
    ],
    ids=["dense", "conv"],
)
def test_antisymmetric_layer_has_an_antisymmetric_jacobian_less_gamma(layer, x):
    layer = layer.double()
    J = torch.func.jacrev(lambda v: layer.field()(0.0, v.reshape(x[:1].shape)).flatten())(0 * x[:1].flatten())
    eye = torch.eye(len(J), dtype=DOUBLE)
    assert torch.allclose(J + J.T, -0.6 * eye, atol=1e-14) and J.norm() > 0.5
    assert torch.allclose(layer(x), x + layer.field()(0.0, x))


def test_zero_padding_adds_channels_and_no_parameter():
    pad, x = ChannelZeroPadding(4), draw(2, 3, 5, 5)
    assert torch.equal(pad(x)[:, :3], x) and not pad(x)[:, 3:].any() and pad(x).shape == (2, 12, 5, 5)
    assert not list(pad.parameters())


def test_weights_are_drawn_by_he_and_biases_are_zero():
    for layer, expected in (
        (HamiltonianDense(400, steps=1, h=0.1, activation="relu", generator=seeded()), 2 / 200),
        (HamiltonianDense(400, steps=1, h=0.1, activation="tanh", generator=seeded()), 1 / 200),
        (HamiltonianConv2d(100, steps=1, h=0.1, generator=seeded()), 2 / (50 * 9)),
        (AntisymmetricDense(200, steps=1, h=0.1, generator=seeded()), 1 / 200),
    ):
        assert layer.K[0].var().item() == pytest.approx(expected, rel=0.05)
        assert not any(b.any() for b in layer.b)
    net = hamiltonian_network((256,), (True,), in_channels=16, classes=100, generator=seeded())
    for layer in (net[0], net[-1]):
        assert layer.weight.var().item() == pytest.approx(2 / layer.weight[0].numel(), rel=0.05)
        assert not layer.bias.any()


def test_a_dilated_layer_keeps_the_size_of_the_image():
    for dilation in (1, 2):
        layer = HamiltonianConv2d(4, steps=2, h=0.1, kernel_size=5, dilation=dilation)
        assert layer(draw(1, 4, 7, 6, dtype=torch.float32)).shape == (1, 4, 7, 6)


def test_summary_leaves_the_network_as_it_was():
    for training in (True, False):
        net = hamiltonian_network((4,), (True,), generator=seeded()).train(training)
        before = {name: b.clone() for name, b in net.named_buffers()}
        summary(net, torch.rand(2, 3, 8, 8))
        assert all(torch.equal(b, before[name]) for name, b in net.named_buffers())
        assert all(m.training == training for m in net.modules())


def test_published_network_has_the_published_table():
    table = summary(hamiltonian_network(), torch.zeros(1, 3, 32, 32))
    counts = [row.parameters for row in table.rows if row.parameters]
    assert counts == [2368, 64, 592, 9280, 36992, 147712, 590336, 2360320, 10250]
    assert (table.parameters, table.fixed, table.parameters - table.fixed) == (3_157_914, 32, 3_157_882)
    shapes = [row.shape for row in table.rows if row.name == "HamiltonianConv2d"]
    assert shapes == [(16, 32, 32), (64, 16, 16), (128, 16, 16), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]
    assert "3,157,914" in str(table)
    kinds = [row.name for row in table.rows]
    assert kinds.count("AvgPool2d") == 3 and kinds[-3:] == ["AdaptiveAvgPool2d", "Flatten", "Linear"]
    units = [m for m in hamiltonian_network() if isinstance(m, HamiltonianConv2d)]
    assert {(u.method, u.steps, u.h, u.activation, u.reversible) for u in units} == {("euler", 4, 0.15, "relu", False)}


def test_network_does_not_depend_on_torchs_global_random_state():
    a, b = (hamiltonian_network((8, 16), (True, True), generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: HamiltonianDense(5, steps=1, h=0.1), "width: the state has two halves"),
        (lambda: HamiltonianDense(0, steps=1, h=0.1), "width: the state has two halves"),
        (lambda: HamiltonianConv2d(4, steps=1, h=0.1, kernel_size=2), "kernel_size: an even kernel"),
        (lambda: HamiltonianDense(4, steps=0, h=0.1), "steps: expected a whole number"),
        (lambda: HamiltonianDense(4, steps=1, h=0.1, method="rk4"), "method: 'rk4' is unknown here"),
        (lambda: HamiltonianDense(4, steps=1, h=0.1, activation="gelu"), "activation: 'gelu' is unknown"),
        (lambda: HamiltonianDense(4, steps=1, h=0.1, reversible=True, check_every=0), "check_every: goes with"),
        (lambda: HamiltonianDense(4, steps=1, h=0.1, check_every=2), "check_every: goes with reversible"),
        (lambda: hamiltonian_network((16, 24), (True, True)), "widths: zero padding makes 16 channels"),
        (lambda: hamiltonian.ChannelZeroPadding(0), "factor: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(make, says):
    with pytest.raises(ValueError, match=says):
        make()
