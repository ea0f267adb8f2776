"""dopri5_each: each problem as if it were alone."""

import math

import pytest
import torch
from torchdiffeq import odeint

from course_lib.integrators.batched import dopri5_each
from course_lib.integrators.dopri5 import dopri5
from course_lib.integrators.errors import SolveError

RATES = torch.tensor([0.3, 2.0, 9.0, 40.0], dtype=torch.float64)


def turns(rates):
    """A damped rotation for each problem, the faster the larger its rate; t enters too."""

    def f(t, x):
        rate = rates.view(-1, 1, 1)
        return rate * torch.stack((x[..., 1], -x[..., 0]), -1) * (1 + 0.5 * torch.cos(t)) - 0.2 * torch.tanh(x)

    return f


def starts(problems=4):
    return torch.randn(problems, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("t", [[0.0, 1.0], [0.0, 0.01, 0.4, 0.41, 1.3], [1.0, 0.5, -0.3]])
@pytest.mark.parametrize("tol", [1e-3, 1e-8])
def test_each_problem_takes_the_steps_it_takes_alone(t, tol):
    x0 = starts()
    together = dopri5_each(turns(RATES), x0, t, rtol=tol, atol=tol)
    for i, rate in enumerate(RATES):
        alone = dopri5(lambda t, x, r=rate: turns(r)(t, x), x0[i : i + 1], t, rtol=tol, atol=tol)
        assert together.nfe[i] == alone.nfe and together.accepted[i] == alone.accepted
        assert together.rejected[i] == alone.rejected
        assert [s.h for s in together.steps[i]] == pytest.approx([s.h for s in alone.steps], rel=1e-6)
        assert torch.allclose(together.x[:, i], alone.x[:, 0], rtol=0, atol=1e-12)
    assert together.nfe[0] < together.nfe[3]


@pytest.mark.parametrize("t", [[0.0, 1.0], [1.0, -0.3]])
def test_a_first_step_that_is_given_is_taken_towards_the_end(t):
    together = dopri5_each(turns(RATES), starts(), t, h0=1e-3)
    for i, rate in enumerate(RATES):
        alone = dopri5(lambda t, x, r=rate: turns(r)(t, x), starts()[i : i + 1], t, h0=1e-3)
        assert together.steps[i][0].h == alone.steps[0].h and together.nfe[i] == alone.nfe


def test_a_trial_that_leaves_the_numbers_is_the_first_step_as_it_is_alone():
    def f(t, x):  # the slope beyond the trial step is infinite for the first problem
        return torch.where((t > 1e-3) & (torch.arange(len(x)).view(-1, 1) == 0), math.inf, -x)

    with pytest.raises(SolveError, match="problem 0") as caught:
        dopri5_each(f, torch.ones(2, 1, dtype=torch.float64), [0.0, 1.0], max_steps=1)
    assert "(h = 0.002" in str(caught.value)  # a fifth of the trial, 0.01


def test_agrees_with_torchdiffeq_to_tolerance():
    x0, t = starts()[:3], torch.tensor([0.0, 0.7, 1.0], dtype=torch.float64)
    ours = dopri5_each(turns(RATES[:3]), x0, t, rtol=1e-8, atol=1e-8).x
    for i, rate in enumerate(RATES[:3]):
        peer = odeint(lambda t, x, r=rate: turns(r)(t, x), x0[i : i + 1], t, rtol=1e-9, atol=1e-9)
        assert torch.allclose(ours[:, i], peer[:, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("t", [[0.0, 1.0], [0.0, 0.2, 1.0]])
def test_gradients_are_those_of_each_problem_alone(t):
    def loss(x):
        return (x * torch.linspace(0.5, 2, x.numel() // len(x), dtype=x.dtype).view(1, *x.shape[1:])).square().sum()

    x0, rates = starts().requires_grad_(), RATES.clone().requires_grad_()
    loss(dopri5_each(turns(rates), x0, t, rtol=1e-4, atol=1e-4).x.movedim(1, 0)).backward()
    for i in range(4):
        x, rate = starts()[i : i + 1].requires_grad_(), RATES[i].clone().requires_grad_()
        loss(dopri5(turns(rate), x, t, rtol=1e-4, atol=1e-4).x.movedim(1, 0)).backward()
        assert torch.allclose(x0.grad[i], x.grad[0], rtol=1e-8, atol=1e-10)
        assert rates.grad[i] == pytest.approx(float(rate.grad), rel=1e-8)


def test_a_step_that_overflows_is_rejected_and_spoils_no_gradient():
    """x' = -r x³ from 1 has x = 1 / sqrt(1 + 2 r t). With r = 1e4 a step of 10 overflows; with r = 0.01 it is fine."""
    rates = torch.tensor([0.01, 1e4]).requires_grad_()
    solved = dopri5_each(lambda t, x: -rates.view(2, 1) * x**3, torch.ones(2, 1), [0.0, 10.0], h0=10.0)
    assert solved.rejected[1] > solved.rejected[0] and math.isinf(solved.steps[1][0].error)
    true = (1 + 20 * rates.detach()) ** -0.5
    assert torch.allclose(solved.x[-1].flatten(), true, rtol=1e-3)
    solved.x[-1].sum().backward()
    assert torch.allclose(rates.grad, -10 * true**3, rtol=1e-2)


def test_problems_without_a_solution_are_named():
    rates = torch.tensor([1.0, 4.0], dtype=torch.float64)

    def f(t, x):
        return rates.view(2, 1) * x**2  # from 1: infinite at 1 / rate

    with pytest.raises(SolveError, match=r"problem 1: no solution up to t = 0.5.*underflow in dt"):
        dopri5_each(f, torch.ones(2, 1, dtype=torch.float64), [0.0, 0.5])
    with pytest.raises(SolveError, match=r"problem 0: .*the 3 steps ran out"):
        dopri5_each(f, torch.ones(2, 1, dtype=torch.float64), [0.0, 0.2], rtol=1e-12, atol=1e-12, max_steps=3)


@pytest.mark.parametrize(
    "change,error,message",
    [
        ({"x0": torch.tensor(1.0)}, ValueError, "x0: expected shape"),
        ({"x0": torch.ones(2, 1, dtype=torch.int64)}, TypeError, "x0: dtype"),
        ({"t": [0.0, 0.0]}, ValueError, "t: not strictly monotone"),
        ({"x0": torch.ones(0, 1)}, ValueError, "x0: expected shape"),
        ({"rtol": -1.0}, ValueError, "rtol, atol"),
        ({"rtol": 0.0, "atol": 0.0}, ValueError, "rtol, atol"),
        ({"f": lambda t, x: x[:1]}, ValueError, "f: returned shape"),
    ],
)
def test_errors_are_one_line_and_name_the_argument(change, error, message):
    arguments = {"f": lambda t, x: -x, "x0": torch.ones(2, 1), "t": [0.0, 1.0]} | change
    with pytest.raises(error, match=message) as caught:
        dopri5_each(arguments.pop("f"), arguments.pop("x0"), arguments.pop("t"), **arguments)
    assert "\n" not in str(caught.value)
