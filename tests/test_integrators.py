"""Explicit methods and ``solve``: order on known solutions, shapes, directions, gradients, errors in one line."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.autograd import forward_ad

from course_lib.integrators import METHODS, solve

R = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
F64 = {"dtype": torch.float64}

# name: (field, start, end time, solution at the end)
PROBLEMS = {
    "logistic": (lambda t, x: x * (1 - x), torch.tensor([0.2], **F64), 3.0,
                 torch.tensor([1 / (1 + 4 * math.exp(-3.0))], **F64)),
    "rotation": (lambda t, x: x @ R.T, torch.tensor([1.0, 0.5], **F64), 2.0,
                 torch.linalg.matrix_exp(2 * R) @ torch.tensor([1.0, 0.5], **F64)),
    "forced": (lambda t, x: x * torch.cos(t), torch.tensor([1.0], **F64), 2.0,
               torch.tensor([math.exp(math.sin(2.0))], **F64)),
}  # fmt: skip


def observed_order(step_method: str, problem: str) -> float:
    f, x0, T, exact = PROBLEMS[problem]
    steps = [32, 64, 128, 256]
    error = [(solve(f, x0, [0.0, T], method=step_method, steps=n)[-1] - exact).norm().item() for n in steps]
    return -np.polyfit(np.log(steps), np.log(error), 1)[0]


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", METHODS)
def test_observed_order_is_the_stated_one(name, problem):
    assert observed_order(name, problem) == pytest.approx(METHODS[name].order, abs=0.1)


@pytest.mark.parametrize("name", METHODS)
def test_evaluations_are_the_stated_stages(name):
    calls = 0

    def f(t, x):
        nonlocal calls
        calls += 1
        return -x

    solve(f, torch.ones(3), [0.0, 1.0, 2.0], method=name, steps=5)
    assert calls == 2 * 5 * METHODS[name].stages


def test_euler_step_by_hand():
    # x' = x + t from x(0) = 1: 1 + 0.5 * 1 = 1.5, then 1.5 + 0.5 * (1.5 + 0.5) = 2.5; a flipped sign gives 0.5 first.
    x = solve(lambda t, x: x + t, torch.tensor([1.0]), [0.0, 0.5, 1.0], method="euler")
    assert x[:, 0].tolist() == [1.0, 1.5, 2.5]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(), (1,), (4, 2), (2, 3, 5)])
def test_batches_of_any_shape_are_solved_entry_by_entry(name, shape):
    x0 = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    f = lambda t, x: torch.sin(t) - x**2  # noqa: E731
    x = solve(f, x0, t, method=name, steps=3)
    assert x.shape == (3, *shape)
    assert torch.equal(x[0], x0)
    for i, value in enumerate(x0.reshape(-1)):
        alone = solve(f, value, t, method=name, steps=3)
        assert torch.allclose(x.reshape(3, -1)[:, i], alone, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_backward_in_time_returns_to_the_start(problem):
    f, x0, T, exact = PROBLEMS[problem]
    back = solve(f, exact, [T, 0.0], method="rk4", steps=400)[-1]
    assert torch.allclose(back, x0, rtol=0, atol=1e-7)


def test_large_finite_entries_are_no_infinite_ones():
    x0 = torch.full((2,), 3e38)  # their sum overflows
    assert torch.equal(solve(lambda t, x: 0 * x, x0, [0.0, 1.0])[-1], x0)


def test_uneven_times_take_uneven_steps():
    f, x0, _, _ = PROBLEMS["rotation"]
    t = torch.tensor([0.0, 0.1, 0.15, 0.9, 2.0], dtype=torch.float64)
    x = solve(f, x0, t, method="rk4", steps=50)
    exact = torch.stack([torch.linalg.matrix_exp(s * R) @ x0 for s in t])
    assert torch.allclose(x, exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize("span", [(0.0, 5.0), (5.0, 0.0)])
def test_agrees_with_scipy_on_a_pendulum(span):
    t = np.linspace(*span, 11)
    reference = solve_ivp(lambda t, y: [y[1], -math.sin(y[0])], span, [1.0, 0.3], t_eval=t, rtol=1e-11, atol=1e-12)
    x = solve(
        lambda t, x: torch.stack([x[1], -torch.sin(x[0])]), torch.tensor([1.0, 0.3], **F64), torch.tensor(t), steps=100
    )
    assert np.abs(x.numpy() - reference.y.T).max() < 1e-8


@pytest.mark.parametrize("name", METHODS)
def test_gradients_through_solve_agree_with_finite_differences(name):
    def end(x0, theta, T):
        return solve(lambda t, x: torch.tanh(x @ theta) + t, x0, torch.stack([0 * T, T]), method=name, steps=3)[-1]

    g = torch.Generator().manual_seed(1)
    x0, theta = torch.randn(4, 2, generator=g, **F64), torch.randn(2, 2, generator=g, **F64)
    inputs = [v.requires_grad_() for v in (x0, theta, torch.tensor(0.7, **F64))]
    assert torch.autograd.gradcheck(end, inputs, eps=1e-6, atol=1e-7, rtol=1e-6)


def test_the_end_time_has_a_derivative_forward_too():
    def end(T):
        return solve(lambda t, x: x * torch.cos(t), torch.ones(1, **F64), torch.stack([0 * T, T]), steps=200)[-1, 0]

    T = torch.tensor(0.7, **F64)
    expected = math.cos(0.7) * math.exp(math.sin(0.7))
    assert torch.func.jvp(end, (T,), (torch.ones_like(T),))[1].item() == pytest.approx(expected, rel=1e-9)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(end(forward_ad.make_dual(T, torch.ones_like(T)))).tangent
    assert tangent.item() == pytest.approx(expected, rel=1e-9)
    with pytest.raises(TypeError, match=r"^t: the times cannot be mapped"):
        torch.func.vmap(end)(torch.tensor([0.7, 1.3], **F64))


def test_gradients_may_be_mapped():
    def slope(x0):
        return torch.func.grad(lambda x: solve(lambda t, x: x**2, x, [0.0, 0.5], steps=50)[-1])(x0)

    x0 = torch.tensor([0.3, -1.0], **F64)
    assert torch.allclose(torch.func.vmap(slope)(x0), (1 - 0.5 * x0) ** -2, rtol=1e-6)


def test_works_under_vmap():
    rates = torch.tensor([0.5, 1.0, 2.0], **F64)
    one = lambda k: solve(lambda t, x: -k * x, torch.ones(1, **F64), [0.0, 1.0], method="heun", steps=20)[-1]  # noqa: E731
    assert torch.allclose(torch.func.vmap(one)(rates), torch.stack([one(k) for k in rates]))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"t": [0.0, 1.0, 0.5]}, ValueError, "t: not strictly monotone"),
        ({"t": [0.0, 1.0, 1.0]}, ValueError, "t: not strictly monotone"),
        ({"t": [0.0]}, ValueError, "t: expected a 1-D tensor"),
        ({"t": [[0.0, 1.0]]}, ValueError, "t: expected a 1-D tensor"),
        ({"t": [0.0, math.nan]}, ValueError, "t: has NaN"),
        ({"x0": torch.tensor([1.0, math.nan])}, ValueError, "x0: has NaN"),
        ({"x0": torch.tensor([math.inf])}, ValueError, "x0: has NaN or infinite"),
        ({"x0": torch.tensor([1, 2])}, TypeError, "x0: dtype torch.int64"),
        ({"x0": [1.0]}, TypeError, "x0: expected a torch tensor"),
        ({"method": "eulr"}, ValueError, "method: 'eulr' is unknown. Did you mean 'euler'"),
        ({"steps": 0}, ValueError, "steps: expected a whole number"),
        ({"steps": 2.0}, ValueError, "steps: expected a whole number"),
        ({"steps": True}, ValueError, "steps: expected a whole number"),
        ({"f": lambda t, x: torch.ones(3, 1)}, ValueError, "f: made the state"),
    ],
)
def test_bad_input_is_one_line_that_names_the_argument(change, kind, message):
    arguments = {"f": lambda t, x: -x, "x0": torch.ones(2), "t": [0.0, 1.0]} | change
    with pytest.raises(kind) as caught:
        solve(**arguments)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_times_close_together_that_float32_cannot_tell_apart():
    t = torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)
    assert solve(lambda t, x: x, torch.ones(1, **F64), t).shape == (2, 1)
    with pytest.raises(ValueError, match=r"^t: not strictly monotone in torch\.float32"):
        solve(lambda t, x: x, torch.ones(1), t)
