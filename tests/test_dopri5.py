"""dopri5 against scipy and torchdiffeq: tableau, tolerance, dense output, evaluations, gradients, errors."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import RK45, solve_ivp
from torchdiffeq import odeint

from course_lib.integrators import SolveError, dopri5, error_ratio, next_step, rms, solve
from course_lib.integrators.dopri5 import A, C, E, P, between, stages
from course_lib.integrators.step_control import first_step

F64 = {"dtype": torch.float64}


def pendulum(t, x):
    return torch.stack([x[..., 1], -torch.sin(x[..., 0])], dim=-1)


def forced(t, x):
    return -2 * t * x + torch.cos(5 * t)


def spiral(t, x):
    u, v = x[..., 0] ** 3, x[..., 1] ** 3
    return torch.stack([-0.1 * u + 2 * v, -2 * u - 0.1 * v], dim=-1)


# name: (field, start, end time)
PROBLEMS = {
    "pendulum": (pendulum, torch.tensor([1.0, 0.3], **F64), 5.0),
    "forced": (forced, torch.tensor([1.0], **F64), 3.0),
    "spiral": (spiral, torch.tensor([2.0, 0.0], **F64), 1.5),
}


def reference(name, t):
    f, x0, _ = PROBLEMS[name]
    one = lambda s, y: f(torch.tensor(s, **F64), torch.tensor(y, **F64)).numpy()  # noqa: E731
    found = solve_ivp(one, (t[0], t[-1]), x0.numpy(), t_eval=t, method="DOP853", rtol=1e-12, atol=1e-13)
    return torch.tensor(found.y.T)


def test_the_tableau_meets_the_conditions_of_its_orders():
    c = np.array([0, *C])
    a = np.zeros((7, 7))
    for i, row in enumerate(A):
        a[i + 1, : len(row)] = row
    b, other = a[6], a[6] - np.array(E)
    assert np.allclose(a.sum(1), c, atol=1e-14)
    for power in range(5):  # quadrature conditions of order 5, and of order 4 for the embedded one
        assert b @ c**power == pytest.approx(1 / (power + 1), abs=1e-14)
        assert power == 4 or other @ c**power == pytest.approx(1 / (power + 1), abs=1e-14)
    assert b @ a @ a @ c == pytest.approx(1 / 24, abs=1e-14)
    assert other @ a @ a @ c == pytest.approx(1 / 24, abs=1e-14)
    assert abs(other @ c**4 - 1 / 5) > 1e-4  # the embedded one is of order 4 and no more
    assert np.allclose(np.array(P).sum(1), b, atol=1e-13)  # at the end of a step, dense output is the step


@pytest.mark.parametrize("h", [0.3, -0.2])
def test_a_step_and_its_dense_output_are_scipys(h):
    x = torch.tensor([1.0, 0.3], **F64)
    one = RK45(lambda t, y: [y[1], -math.sin(y[0])], 0.0, x.numpy(), h * 5, first_step=abs(h), rtol=1.0, atol=1.0)
    one.step()
    y, k = stages(pendulum, 0.0, x, one.t, pendulum(0.0, x))
    assert np.allclose(y.numpy(), one.y, rtol=0, atol=1e-14)
    inside = one.dense_output()
    for share, state in zip((0.1, 0.5, 0.9), between(x, one.t, k, [0.1, 0.5, 0.9]), strict=True):
        assert np.allclose(state.numpy(), inside(share * one.t), rtol=0, atol=1e-14)


def test_local_order_is_6_at_the_end_of_a_step_and_5_inside():
    x, sizes, ends, middles = PROBLEMS["pendulum"][1], [0.4, 0.2, 0.1], [], []
    for h in sizes:
        exact = reference("pendulum", np.array([0.0, 0.5 * h, h]))
        y, k = stages(pendulum, 0.0, x, h, pendulum(0.0, x))
        ends.append((y - exact[2]).norm().item())
        middles.append((between(x, h, k, [0.5])[0] - exact[1]).norm().item())
    assert np.polyfit(np.log(sizes), np.log(ends), 1)[0] == pytest.approx(6, abs=0.4)
    assert np.polyfit(np.log(sizes), np.log(middles), 1)[0] == pytest.approx(5, abs=0.4)


@pytest.mark.parametrize("tol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("name", PROBLEMS)
def test_agrees_with_the_solution_and_with_torchdiffeq(name, tol):
    f, x0, T = PROBLEMS[name]
    t = torch.linspace(0, T, 12, **F64)
    found, exact = dopri5(f, x0, t, rtol=tol, atol=tol), reference(name, t.numpy())
    calls = 0

    def counted(t, x):
        nonlocal calls
        calls += 1
        return f(t, x)

    peer = odeint(counted, x0, t, rtol=tol, atol=tol, method="dopri5")
    error, theirs = (found.x - exact).abs().max().item(), (peer - exact).abs().max().item()
    assert error < (300 if name == "spiral" else 30) * tol  # the cubic field spreads neighbours
    assert error < 3 * theirs + 1e-12
    assert abs(found.nfe - calls) <= max(12, 0.1 * calls)


@pytest.mark.parametrize("tol", [1e-4, 1e-7])
def test_takes_about_as_many_evaluations_as_scipys_rk45(tol):
    found = dopri5(pendulum, PROBLEMS["pendulum"][1], [0.0, 20.0], rtol=tol, atol=tol)
    peer = solve_ivp(lambda t, y: [y[1], -math.sin(y[0])], (0, 20), [1.0, 0.3], rtol=tol, atol=tol)
    assert found.nfe == pytest.approx(peer.nfev, rel=0.15)


def test_tighter_tolerance_costs_evaluations_and_gains_accuracy():
    f, x0, T = PROBLEMS["spiral"]
    exact = reference("spiral", np.array([0.0, T]))[-1]
    runs = [dopri5(f, x0, [0.0, T], rtol=10.0**-k, atol=10.0**-k) for k in (3, 5, 7, 9)]
    errors = [(r.x[-1] - exact).norm().item() for r in runs]
    assert sorted(errors, reverse=True) == errors and errors[-1] < 1e-7
    assert sorted(r.nfe for r in runs) == [r.nfe for r in runs]


def test_evaluations_are_counted_and_the_last_slope_is_the_next_first():
    times = []

    def f(t, x):
        times.append(float(t))
        return pendulum(t, x)

    x0 = PROBLEMS["pendulum"][1]
    found = dopri5(f, x0, [0.0, 5.0])
    assert len(times) == found.nfe == 2 + 6 * (found.accepted + found.rejected)
    assert len(found.steps) == found.accepted + found.rejected
    times.clear()
    assert dopri5(f, x0, [0.0, 5.0], h0=0.1).nfe == len(times)
    assert len(times) % 6 == 1  # one at the start and six a step


def test_the_step_that_would_come_next_is_that_of_a_solve_that_goes_on():
    f, x0, _ = PROBLEMS["spiral"]
    steps = dopri5(f, x0, [0.0, 5.0]).steps
    assert sum(s.accepted for s in steps) > 6
    for before, after in itertools.pairwise(steps[:-1]):
        if before.accepted:
            assert dopri5(f, x0, [0.0, after.t]).next_h == pytest.approx(after.h, rel=1e-6)
    back = dopri5(pendulum, PROBLEMS["pendulum"][1], [5.0, 0.0])
    assert back.steps[-1].h < 0 < back.next_h


def test_steps_join_from_start_to_end_and_respect_the_tolerance():
    found = dopri5(spiral, PROBLEMS["spiral"][1], [0.0, 3.0], rtol=1e-8, atol=1e-8, h0=1.0)
    taken = [s for s in found.steps if s.accepted]
    assert all(s.error <= 1 for s in taken) and not any(s.error <= 1 for s in found.steps if not s.accepted)
    assert found.rejected > 0 and taken[0].t == 0.0
    assert all(a.t + a.h == b.t for a, b in itertools.pairwise(taken))
    assert taken[-1].t + taken[-1].h == pytest.approx(3.0, abs=1e-15)


def test_each_size_is_the_controllers_and_counts_from_the_step_taken_last():
    found = dopri5(spiral, PROBLEMS["spiral"][1], [0.0, 3.0], rtol=1e-8, atol=1e-8, h0=1.0, beta=0.04)
    before = 1.0
    for one, following in itertools.pairwise(found.steps[:-1]):
        assert following.h == next_step(one.h, one.error, before, beta=0.04)
        before = one.error if one.accepted else before
    assert found.rejected > 1


def test_the_last_step_may_be_a_tenth_longer():
    for end, steps in ((1.05, 1), (1.2, 2)):
        assert len(dopri5(pendulum, PROBLEMS["pendulum"][1], [0.0, end], rtol=1.0, atol=1.0, h0=1.0).steps) == steps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_field_is_given_times_of_the_states_dtype(dtype):
    seen = set()

    def f(t, x):
        seen.add((t.dtype, t.ndim))
        return -x

    dopri5(f, torch.ones(2, dtype=dtype), [0.1, 0.5, 1.0])
    assert seen == {(dtype, 0)}


def test_output_times_do_not_disturb_the_steps():
    f, x0, T = PROBLEMS["pendulum"]
    few, many = dopri5(f, x0, [0.0, T]), dopri5(f, x0, torch.linspace(0, T, 301, **F64))
    assert few.steps == many.steps and torch.equal(few.x[-1], many.x[-1])
    assert (many.x - reference("pendulum", np.linspace(0, T, 301))).abs().max() < 1e-5
    hits = [0.0, *(s.t + s.h for s in few.steps if s.accepted)]
    hits[-1] = T
    assert torch.equal(dopri5(f, x0, hits).x[-1], few.x[-1])


def test_the_field_is_not_asked_outside_of_the_interval():
    def f(t, x):
        assert 0.0 <= float(t) <= 1.0
        return -x

    dopri5(f, torch.ones(3, **F64), [0.0, 0.3, 1.0])
    dopri5(f, torch.ones(3, **F64), [1.0, 0.0])


@pytest.mark.parametrize("name", PROBLEMS)
def test_backward_in_time_returns_to_the_start(name):
    f, x0, T = PROBLEMS[name]
    t = torch.linspace(0, T, 7, **F64)
    there = dopri5(f, x0, t, rtol=1e-9, atol=1e-9).x
    back = dopri5(f, there[-1], t.flip(0), rtol=1e-9, atol=1e-9).x.flip(0)
    assert torch.allclose(back, there, rtol=0, atol=1e-4 if name == "forced" else 1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (4, 2), (2, 3, 5)])
def test_states_of_any_shape(shape):
    x0 = torch.rand(shape, generator=torch.Generator().manual_seed(0), **F64)
    x = dopri5(lambda t, x: -x + t, x0, [0.0, 0.4, 1.0], rtol=1e-10, atol=1e-10).x
    assert x.shape == (3, *shape)
    t = torch.tensor([0.0, 0.4, 1.0], **F64).view(-1, *[1] * len(shape))
    assert torch.allclose(x, (x0 + 1) * (-t).exp() + t - 1, rtol=0, atol=1e-8)


def test_single_precision_is_kept():
    x = dopri5(pendulum, torch.tensor([1.0, 0.3]), [0.0, 5.0], rtol=1e-5, atol=1e-5).x
    assert x.dtype == torch.float32
    assert (x[-1].double() - reference("pendulum", np.array([0.0, 5.0]))[-1]).abs().max() < 1e-4


def test_gradient_is_that_of_the_steps_taken():
    W = torch.randn(2, 2, generator=torch.Generator().manual_seed(1), **F64).requires_grad_()
    x0 = torch.tensor([[0.5, -0.2], [1.0, 0.3]], **F64).requires_grad_()
    f = lambda t, x: torch.tanh(x @ W) + torch.sin(t)  # noqa: E731
    t = [0.0, 0.7, 2.0]
    found = dopri5(f, x0, t, rtol=1e-4, atol=1e-4)
    ours = torch.autograd.grad(found.x.square().sum(), (x0, W))
    x, total = x0, x0.square().sum()
    for s in (s for s in found.steps if s.accepted):
        y, k = stages(f, s.t, x, s.h, f(torch.tensor(s.t, **F64), x))
        if s.t < t[1] <= s.t + s.h:
            total = total + between(x, s.h, k, [(t[1] - s.t) / s.h])[0].square().sum()
        x = y
    unrolled = torch.autograd.grad(total + x.square().sum(), (x0, W))
    for a, b in zip(ours, unrolled, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_gradient_agrees_with_finite_differences_at_a_tight_tolerance():
    def loss(x0, rate):
        x = dopri5(lambda t, x: -rate * x**3 + torch.sin(t), x0, [0.0, 0.31, 0.9, 1.5], rtol=1e-11, atol=1e-11).x
        return x.square().sum()

    x0, rate = torch.tensor([1.0, -0.4], **F64).requires_grad_(), torch.tensor(0.8, **F64).requires_grad_()
    assert torch.autograd.gradcheck(loss, (x0, rate), eps=1e-4, atol=1e-6, rtol=1e-6)


def test_the_norm_decides_whose_error_counts():
    x0 = torch.zeros(100, **F64)
    x0[0] = 1.0  # one entry in a hundred moves
    f = lambda t, x: torch.stack([x, -x])[0] * torch.cos(20 * t)  # noqa: E731
    largest = dopri5(f, x0, [0.0, 2.0], norm=lambda e: e.abs().max())
    typical = dopri5(f, x0, [0.0, 2.0])
    assert largest.nfe > typical.nfe
    assert largest.steps == dopri5(f, x0[:1], [0.0, 2.0]).steps  # as if it were alone
    assert rms(torch.tensor([3.0, 4.0])).item() == pytest.approx(math.sqrt(12.5))


def test_error_ratio_by_hand():
    e, x, y = (torch.tensor(v, **F64) for v in ([3e-3, 0.0], [1.0, -2.0], [-2.0, 1.0]))
    # allowed: 1e-3 + 1e-3 * 2 = 3e-3 for both; scaled errors (1, 0)
    assert error_ratio(e, x, y, 1e-3, 1e-3, rms) == pytest.approx(math.sqrt(0.5))


def test_step_controllers():
    assert next_step(0.1, 1.0, 1.0) == pytest.approx(0.09)  # on the tolerance: aim a little below
    assert next_step(0.1, 2.0**-5, 1.0) == pytest.approx(0.18)  # 32 times too good: twice the step
    assert next_step(0.1, 1e-12, 1.0) == pytest.approx(1.0) and next_step(-0.1, 0.0, 1.0) == pytest.approx(-1.0)
    assert next_step(0.1, 1e9, 1.0) == pytest.approx(0.02) and next_step(0.1, math.nan, 1.0) == pytest.approx(0.02)
    assert next_step(0.1, 1.0001, 1.0) < 0.1
    # The PI controller holds back where the error is growing.
    assert next_step(0.1, 0.5, 0.01, beta=0.04) < next_step(0.1, 0.5, 0.5, beta=0.04)
    assert next_step(0.1, 0.5, 0.3, beta=0.04) == pytest.approx(0.09 * 0.5 ** (0.03 - 0.2) * 0.3**0.04)
    assert next_step(0.1, 0.5, 0.0, beta=0.04) == next_step(0.1, 0.5, 1e-4, beta=0.04) < next_step(0.1, 0.5, 0.01,
                                                                                                    beta=0.04)
    f, x0, T = PROBLEMS["pendulum"]
    smooth = dopri5(f, x0, [0.0, T], rtol=1e-8, atol=1e-8, beta=0.04)
    assert (smooth.x[-1] - reference("pendulum", np.array([0.0, T]))[-1]).abs().max() < 1e-6


def test_the_first_step_by_hand():
    """With atol = 1: size 2 and slope 1 make a trial of 0.02, and the slope at its end says how fast f changes."""
    x, k = torch.tensor([2.0], **F64), torch.tensor([-1.0], **F64)
    for bend, h in ((0.06, (0.01 / 3) ** 0.2), (0.0, 0.01**0.2), (2e8, (0.01 / 1e10) ** 0.2), (math.inf, 0.02)):
        for span in (9.0, -9.0):
            found = first_step(lambda t, x: k + bend, 0.0, x, k, span, 0.0, 1.0, rms)  # noqa: B023
            assert found == pytest.approx(math.copysign(h, span), rel=1e-12)
    assert first_step(lambda t, x: k, 0.0, x, k, 0.1, 0.0, 1.0, rms) == 0.1
    assert first_step(lambda t, x: 0 * k, 0.0, 0 * x, 0 * k, 9.0, 0.0, 1.0, rms) == 1e-6


def test_solve_knows_it_by_name():
    f, x0, T = PROBLEMS["pendulum"]
    t = [0.0, 1.0, T]
    assert torch.equal(solve(f, x0, t, method="dopri5", rtol=1e-4, atol=1e-5), dopri5(f, x0, t, rtol=1e-4, atol=1e-5).x)
    assert torch.equal(solve(f, x0, t, method="dopri5"), dopri5(f, x0, t, rtol=1e-6, atol=1e-6).x)
    with pytest.raises(ValueError, match=r"^steps: dopri5 chooses its own"):
        solve(f, x0, t, method="dopri5", steps=3)
    for name in ("rtol", "atol"):
        with pytest.raises(ValueError, match=rf"^{name}: rk4 takes steps of fixed size"):
            solve(f, x0, t, method="rk4", **{name: 1e-3})
    with pytest.raises(ValueError, match=r"Did you mean 'dopri5'"):
        solve(f, x0, t, method="dopri")


@pytest.mark.parametrize(
    ("f", "options", "message"),
    [
        (lambda t, x: x**2, {}, r"at t = 1 underflow in dt \(h = .*blows up"),
        (lambda t, x: torch.where(t < 0.5, x, x * math.inf), {}, r"at t = 0\.5 underflow in dt .*not finite"),
        (lambda t, x: -1e6 * (x - torch.cos(t)), {"max_steps": 50}, r"the 50 steps ran out .*stiff.*implicit"),
        (lambda t, x: x * math.nan, {}, r"f is not finite at the start, t = 0"),
    ],
)
def test_no_solution_is_one_line_that_says_where_and_what_to_do(f, options, message):
    with pytest.raises(SolveError, match=message) as caught:
        dopri5(f, torch.ones(2, **F64), [0.0, 2.0], **options)
    assert str(caught.value).startswith("no solution") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"t": [0.0, 1.0, 0.5]}, ValueError, "t: not strictly monotone"),
        ({"t": torch.tensor([0.0, 1.0], requires_grad=True)}, ValueError, "t: needs a gradient"),
        ({"x0": torch.tensor([1.0, math.nan])}, ValueError, "x0: has NaN"),
        ({"x0": torch.tensor([1, 2])}, TypeError, "x0: dtype torch.int64"),
        ({"f": lambda t, x: torch.ones(3, 1)}, ValueError, "f: returned shape (3, 1)"),
        ({"rtol": -1.0}, ValueError, "rtol, atol: expected numbers"),
        ({"rtol": 0.0, "atol": 0.0}, ValueError, "rtol, atol: expected numbers"),
    ],
)
def test_bad_input_is_one_line_that_names_the_argument(change, kind, message):
    arguments = {"f": lambda t, x: -x, "x0": torch.ones(2), "t": [0.0, 1.0]} | change
    with pytest.raises(kind) as caught:
        dopri5(**arguments)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_vmap_is_refused_in_one_line():
    with pytest.raises(TypeError, match=r"^f, x0: under vmap there is no one step size"):
        torch.func.vmap(lambda k: dopri5(lambda t, x: -k * x, torch.ones(1), [0.0, 1.0]).x)(torch.ones(3))
