"""Known vector fields against what is known of them: exact flows, conserved and decaying quantities, equilibria."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp

from course_lib.dynamics import CubicSpiral, DampedPendulum, LotkaVolterra, Oscillator
from course_lib.integrators import solve

FIELDS = [Oscillator(1.3), CubicSpiral(), CubicSpiral(transposed=True), LotkaVolterra(0.55, 0.028, 0.8, 0.024),
          DampedPendulum(2.0, 0.3)]
ZERO = torch.tensor(0.0)


def times(end: float, n: int) -> torch.Tensor:
    return torch.linspace(0, end, n, dtype=torch.float64)


def pair(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("f", FIELDS, ids=lambda f: type(f).__name__)
def test_batch_first_and_autonomous(f):
    x = torch.rand(3, 4, 2, dtype=torch.float64) + 0.5
    y = f(ZERO, x)
    assert y.shape == x.shape and y.dtype == x.dtype
    assert torch.equal(y[1, 2], f(torch.tensor(7.0), x[1, 2]))
    with pytest.raises(ValueError, match=r"x: expected shape \(\.\.\., 2\), got \(3,\)"):
        f(ZERO, torch.ones(3))


@pytest.mark.parametrize("f", FIELDS, ids=lambda f: type(f).__name__)
def test_trajectory_agrees_with_scipy(f):
    x0 = pair(1.5, 0.8)
    ours = solve(f, x0, times(2.0, 1001))[-1]
    theirs = solve_ivp(lambda t, x: f(ZERO, torch.tensor(x)).numpy(), (0, 2), x0, rtol=1e-11, atol=1e-11).y[:, -1]
    assert ours.tolist() == pytest.approx(theirs, rel=1e-7)


def test_oscillator_flow_is_exact_and_keeps_energy():
    f, x0 = Oscillator(1.3), pair(1.0, -0.4)
    t = times(4.0, 401)
    exact = f.flow(t, x0.expand(401, 2))
    assert torch.allclose(solve(f, x0, t), exact, atol=1e-8)
    assert torch.allclose(f.energy(exact), f.energy(x0).expand(401), rtol=1e-13)
    assert torch.allclose(f.flow(2 * math.pi / 1.3, x0), x0, atol=1e-14)


def test_cubic_spiral_and_its_transpose():
    A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=torch.float64)
    u = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(CubicSpiral()(ZERO, u), (A @ u.unsqueeze(-1) ** 3).squeeze(-1))
    assert torch.allclose(CubicSpiral(transposed=True)(ZERO, u), u**3 @ A)
    start = pair(2.0, 0.0)
    assert CubicSpiral()(ZERO, start)[1] < 0 < CubicSpiral(transposed=True)(ZERO, start)[1]
    # Mirror images of each other: v -> -v turns one into the other.
    mirror = pair(1.0, -1.0)
    assert torch.allclose(CubicSpiral()(ZERO, u) * mirror, CubicSpiral(transposed=True)(ZERO, u * mirror))


@pytest.mark.parametrize("f", FIELDS[1:3], ids=["A", "transposed"])
def test_cubic_spiral_goes_inwards_at_the_stated_rate(f):
    x = torch.randn(2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (slope,) = torch.autograd.grad(f.quartic(x), x)
    assert torch.allclose(slope @ f(ZERO, x), -0.1 * (x**6).sum())


def test_lotka_volterra_conserved_quantity_along_the_flow():
    f, x0 = LotkaVolterra(0.55, 0.028, 0.8, 0.024), pair(30.0, 4.0)
    V = f.conserved(solve(f, x0, times(25.0, 5001)))
    assert (V - V[0]).abs().max() < 1e-9
    # Not a constant function: a nearby state lies on another orbit.
    assert abs(f.conserved(pair(33.0, 4.0)) - V[0]) > 1e-3


def test_lotka_volterra_equilibrium_is_the_minimum_of_v():
    f = LotkaVolterra(0.55, 0.028, 0.8, 0.024)
    x = pair(*f.equilibrium).requires_grad_()
    assert f(ZERO, x).abs().max() < 1e-12
    (slope,) = torch.autograd.grad(f.conserved(x), x)
    assert slope.abs().max() < 1e-14
    assert (torch.linalg.eigvalsh(torch.autograd.functional.hessian(f.conserved, x.detach())) > 0).all()


def test_lotka_volterra_small_period():
    f = LotkaVolterra(1.5, 1.0, 3.0, 1.0)
    x0 = pair(*f.equilibrium) + pair(1e-4, 0)
    back = solve(f, x0, times(f.small_period, 2001))[-1]
    assert (back - x0).abs().max() < 1e-7
    # The standard large orbit from (1, 1) takes longer: 3.3175 (tabulated), against 2.9619 for small oscillations.
    assert (solve(f, pair(1.0, 1.0), times(3.3175, 2001))[-1] - 1).abs().max() < 1e-3
    assert f.small_period < 3.0


def test_lotka_volterra_family_in_one_call():
    rates = torch.rand(6, 4, dtype=torch.float64)
    x = torch.rand(6, 2, dtype=torch.float64)
    together = LotkaVolterra(*rates.unbind(-1))(ZERO, x)
    for k in range(6):
        assert torch.allclose(together[k], LotkaVolterra(*rates[k].tolist())(ZERO, x[k]))


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_pendulum_energy_falls_at_the_stated_rate(damping):
    f = DampedPendulum(2.0, damping)
    x = pair(1.0, 0.7).requires_grad_()
    (slope,) = torch.autograd.grad(f.energy(x), x)
    assert torch.allclose(slope @ f(ZERO, x), -damping * x[1] ** 2, atol=1e-14)
