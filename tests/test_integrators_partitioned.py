"""Partitioned methods: order, exact inversion, symmetry, area, agreement of the two second-order forms, refusal."""

import math

import pytest
import torch

from course_lib.dynamics import DampedPendulum, Oscillator
from course_lib.integrators import PARTITIONED, Partitioned, rk4, solve, symplectic_euler

STEPS = {name: method.step for name, method in PARTITIONED.items()}
PENDULUM = Partitioned(lambda t, p: p, lambda t, q: -q.sin())
DRIVEN = Partitioned(lambda t, z: z, lambda t, y: -y + t.cos())  # y'' + y = cos t
FORCED = Partitioned(lambda t, z: z * t.cos(), lambda t, y: -y * (2 * t).sin())  # both halves know the time
X0 = torch.tensor([[0.9, 0.2], [-1.5, 0.4]], dtype=torch.float64)


def test_the_field_is_the_plain_one():
    assert torch.equal(PENDULUM(0.0, X0), DampedPendulum()(0.0, X0))
    images = torch.randn(2, 6, 3, 3)
    s = Partitioned(lambda t, z: 2 * z, lambda t, y: 3 * y, dim=1)
    assert torch.equal(s(0.0, images), torch.cat((2 * images[:, 3:], 3 * images[:, :3]), 1))


@pytest.mark.parametrize("name", PARTITIONED)
def test_observed_order(name):
    reference = solve(PENDULUM, X0, [0, 2], method="rk4", steps=2000)[-1]
    driven = torch.tensor([math.sin(2), math.sin(2) / 2 + math.cos(2)], dtype=torch.float64)  # y = t sin(t) / 2
    forced = solve(FORCED, X0, [0, 2], method="rk4", steps=2000)[-1]
    for s, x0, exact in ((PENDULUM, X0, reference), (DRIVEN, torch.zeros(2, dtype=torch.float64), driven),
                         (FORCED, X0, forced)):
        errors = [(solve(s, x0, [0, 2], method=name, steps=n)[-1] - exact).abs().max() for n in (64, 256)]
        assert math.log(errors[0] / errors[1], 4) == pytest.approx(PARTITIONED[name].order, abs=0.1)


@pytest.mark.parametrize("name", ["verlet", "leapfrog"])
def test_second_order_forms_are_symmetric(name):
    t, h = torch.tensor(0.5, dtype=torch.float64), 0.3
    there = STEPS[name](DRIVEN, t, X0, h)
    assert torch.allclose(STEPS[name](DRIVEN, t + h, there, -h), X0, atol=1e-15)


def test_symplectic_euler_is_not_symmetric_but_invertible():
    h, t = 0.3, torch.tensor(0.5, dtype=torch.float64)
    there = symplectic_euler(FORCED, t, X0, h)
    assert (symplectic_euler(FORCED, t + h, there, -h) - X0).abs().max() > 1e-3
    y, z = FORCED.split(there)
    y = y - h * FORCED.f(t + h, z)
    z = z - h * FORCED.g(t, y)
    assert torch.allclose(FORCED.join(y, z), X0, atol=1e-15)


@pytest.mark.parametrize("name", PARTITIONED)
def test_steps_keep_area(name):
    one = torch.func.jacrev(lambda x: STEPS[name](PENDULUM, 0.0, x, 0.8))(X0[0])
    assert float(torch.linalg.det(one)) == pytest.approx(1.0, abs=1e-14)
    rough = torch.func.jacrev(lambda x: rk4(PENDULUM, 0.0, x, 0.8))(X0[0])
    assert abs(float(torch.linalg.det(rough)) - 1) > 1e-4


def test_a_plain_field_or_an_odd_state_is_refused():
    with pytest.raises(TypeError, match=r"f: a partitioned method needs Partitioned\(f, g\).*not a Oscillator"):
        solve(Oscillator(), X0, [0, 1], method="verlet")
    with pytest.raises(ValueError, match=r"x: axis -1 of shape \(3,\) has no two halves"):
        solve(PENDULUM, torch.ones(3), [0, 1], method="leapfrog")
    with pytest.raises(ValueError, match="Did you mean 'symplectic_euler'"):
        solve(PENDULUM, X0, [0, 1], method="symplectic-euler")
