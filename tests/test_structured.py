"""Fields with known parts: seeds apart, gradients against autograd, energies, and what they raise."""

import pytest
import torch

from course_lib.dynamics import LotkaVolterra
from course_lib.fitting import multiple_shooting
from course_lib.integrators import solve
from course_lib.neural_ode import DampedHamiltonian, PreyPredator, SecondOrder, SeedNet, Unstructured

REAL = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=REAL)


def test_a_seed_net_is_its_formula_and_each_seed_its_own():
    net, x = SeedNet(2, 5, 3, seeds=[4, 7], dtype=REAL), draw(6, 3, 2, 2)
    y = net(x)
    for k, seed in enumerate((4, 7)):
        alone = SeedNet(2, 5, 3, seeds=[seed], dtype=REAL)
        by_hand = (x[..., k, :] @ alone.w1[0] + alone.b1[0]).tanh() @ alone.w2[0] + alone.b2[0]
        assert torch.allclose(y[..., k, :], by_hand, atol=1e-12)
        assert torch.allclose(net.squares()[k], alone.w1.square().sum() + alone.w2.square().sum())
    assert not torch.allclose(net.w1[0], net.w1[1])
    wide = SeedNet(4, 100, 50, seeds=[0])
    for weights, inputs in ((wide.w1, 4), (wide.b1, 4), (wide.w2, 100), (wide.b2, 100)):
        assert 0.9 * inputs**-0.5 < weights.abs().max() <= inputs**-0.5


def test_states_of_the_wrong_shape_are_named():
    with pytest.raises(ValueError, match=r"x: expected shape \(..., 2, 2\)"):
        Unstructured(2, 4, seeds=range(2))(0.0, torch.zeros(5, 3, 2))
    with pytest.raises(ValueError, match="seeds: give at least one"):
        SeedNet(2, 4, 2, seeds=[])


@pytest.mark.parametrize("make", [SecondOrder, DampedHamiltonian])
def test_the_first_half_moves_with_the_second(make):
    x = draw(4, 3, 4)
    assert torch.equal(make(2, 6, seeds=range(3), dtype=REAL)(0.0, x)[..., :2], x[..., 2:])


@pytest.mark.parametrize("dim", [1, 2])
def test_the_hamiltonian_field_is_the_energys_gradient_less_friction(dim):
    field, x = DampedHamiltonian(dim, 7, seeds=range(3), friction=0.3, dtype=REAL), draw(5, 3, 2 * dim)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(field.energy(x).sum(), x)
    made, p = field(0.0, x), x[..., dim:]
    assert torch.allclose(slope[..., dim:], p)
    assert torch.allclose(made[..., dim:], -slope[..., :dim] - 0.3 * p, atol=1e-12)
    # Energy falls at the rate c p² exactly.
    assert torch.allclose((slope * made).sum(-1), -0.3 * p.square().sum(-1), atol=1e-12)


def test_what_an_energy_learns():
    field = DampedHamiltonian(2, 5, seeds=range(2), dtype=REAL)
    field(0.0, draw(4, 2, 4)).square().sum().backward()
    learned = {name for name, p in field.named_parameters() if p.requires_grad}
    assert learned == {"net.w1", "net.b1", "net.w2", "log_friction"}  # not the constant in it
    assert all(p.grad.any() for p in field.parameters() if p.requires_grad)


def test_friction_must_be_positive():
    with pytest.raises(ValueError, match="friction"):
        DampedHamiltonian(1, 4, seeds=[0], friction=0.0)


def test_prey_and_predators_in_logarithms_are_the_equations_they_stand_for():
    mean, scale = torch.tensor([0.8, -0.1], dtype=REAL), torch.tensor([0.7, 1.0], dtype=REAL)
    field = PreyPredator(mean, scale, 6, rates=(1.5, 3.0), seeds=range(2), dtype=REAL)
    x = draw(5, 2, 2).exp()
    z = (x.log() - mean) / scale
    lost, gained = field.interaction(x).unbind(-1)
    known = torch.stack((1.5 * x[..., 0] - lost, -3.0 * x[..., 1] + gained), -1)
    assert torch.allclose(field(0.0, z) * scale * x, known)  # z' = (x' / x) / scale
    assert (field.per_head(z) > 0).all()
    assert not field.log_rates.requires_grad
    learned = PreyPredator(mean, scale, 6, rates=(1.5, 3.0), learn_rates=True, seeds=range(2), dtype=REAL)
    assert learned.log_rates.requires_grad and torch.equal(learned(0.0, z), field(0.0, z))
    with pytest.raises(ValueError, match="rates"):
        PreyPredator(mean, scale, 6, rates=(1.5, 0.0), seeds=[0])


def test_stacked_seeds_train_as_each_would_alone():
    t = torch.linspace(0, 2, 11, dtype=REAL)
    x = solve(LotkaVolterra(1.5, 1.0, 3.0, 1.0), torch.ones(2, dtype=REAL), t, method="rk4", steps=10).log()
    together = Unstructured(2, 8, seeds=[0, 3], dtype=REAL)
    multiple_shooting(together, t, x.unsqueeze(1).expand(-1, 2, -1), epochs=40, lr=0.02, every=40)
    alone = Unstructured(2, 8, seeds=[3], dtype=REAL)
    multiple_shooting(alone, t, x.unsqueeze(1), epochs=40, lr=0.02, every=40)
    assert torch.allclose(together.net.w1[1], alone.net.w1[0], atol=1e-4)
    assert not torch.allclose(alone.net.w1, Unstructured(2, 8, seeds=[3], dtype=REAL).net.w1, atol=1e-2)
