"""Implicit methods: order, exactness on linear fields, gradients without unrolling, symmetry, refusal."""

import math

import pytest
import torch

from course_lib.dynamics import Oscillator
from course_lib.integrators import IMPLICIT, NewtonFailed, backward_euler, solve, trapezoid

DOUBLE = torch.float64


def real(values):
    return torch.tensor(values, dtype=DOUBLE)


@pytest.mark.parametrize("name", IMPLICIT)
@pytest.mark.parametrize(
    ("f", "x0", "exact"),
    [
        (lambda t, x: x.sin() - x + t.sin() - t.sin().sin() + t.cos(), real([0.0]), lambda t: math.sin(t)),
        (lambda t, x: -2 * t * x, real(1.0), lambda t: math.exp(-t * t)),
    ],
    ids=["nonlinear", "scalar state"],
)
def test_observed_order(name, f, x0, exact):
    errors = [float((solve(f, x0, [0, 1], method=name, steps=n)[-1] - exact(1)).abs().max()) for n in (32, 128)]
    assert math.log(errors[0] / errors[1], 4) == pytest.approx(IMPLICIT[name].order, abs=0.1)


def test_one_step_on_a_linear_field_is_the_closed_form():
    h, x = 0.7, real([[1.0, 2.0], [-3.0, 0.5]])
    A = real([[0.0, 1.3], [-1.3, 0.0]])
    eye = torch.eye(2, dtype=DOUBLE)
    inverse = torch.linalg.inv(eye - h * A)
    half = torch.linalg.inv(eye - h / 2 * A) @ (eye + h / 2 * A)
    assert torch.allclose(backward_euler(Oscillator(1.3), 0.0, x, h), x @ inverse.T, atol=1e-15)
    assert torch.allclose(trapezoid(Oscillator(1.3), 0.0, x, h), x @ half.T, atol=1e-15)


@pytest.mark.parametrize("step", [backward_euler, trapezoid])
def test_gradients_are_those_of_finite_differences(step):
    def end(x, h, a):
        return step(lambda t, y: (a * y).sin() - y**3 + t, real(0.2), x, h)

    x = torch.randn(3, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(end, (x, real(0.3).requires_grad_(), real([1.5, 0.5]).requires_grad_()))


def test_trapezoid_is_symmetric_and_backward_euler_is_the_inverse_of_euler():
    field = lambda t, x: x.cos() + t  # noqa: E731
    x, t, h = real([0.4, -1.0]), 0.3, 0.2
    assert torch.allclose(trapezoid(field, t + h, trapezoid(field, t, x, h), -h), x, atol=1e-14)
    y = backward_euler(field, t, x, h)
    assert torch.allclose(y - h * field(t + h, y), x, atol=1e-14)
    assert not torch.allclose(backward_euler(field, t + h, y, -h), x, atol=1e-3)


@pytest.mark.parametrize("size", [1.0, 1e8])
def test_a_step_is_solved_to_rounding_with_or_without_a_graph(size):
    x = size * torch.randn(2, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    f = lambda t, y: t * (y + (y / size).sin() * size)  # noqa: E731
    for h in torch.linspace(0.05, 0.5, 20).tolist():
        y = backward_euler(f, 0.3, x, h)
        with torch.no_grad():
            plain = backward_euler(f, 0.3, x, h)
        for found in (y, plain):
            assert (found - h * f(0.3 + h, found) - x).abs().max() < 2e-13 * size


def test_newton_goes_on_as_long_as_it_must():
    y = backward_euler(lambda t, y: -(y**3), 0.0, real([1e6]), 1.0)  # from 1e6 to the root of y + y³ = 1e6
    assert float(y + y**3) == pytest.approx(1e6, rel=1e-13)


def test_stiff_decay_stays_bounded_in_float32():
    path = solve(lambda t, x: -1000 * x, torch.ones(1), torch.linspace(0, 1, 11), method="backward_euler")
    assert (path.diff(dim=0) < 0).all() and float(path[-1]) < 1e-15


def test_a_step_without_solution_is_refused():
    with pytest.raises(NewtonFailed, match="h: the implicit step of size 2"):
        backward_euler(lambda t, x: 1 + x**2, 0.0, real([0.0]), 2.0)
    with pytest.raises(NewtonFailed, match=r"h: the implicit step of size 2 has no unique solution: I - 0.5hJ is sing"):
        trapezoid(lambda t, x: x, 0.0, real([1.0]), 2.0)
