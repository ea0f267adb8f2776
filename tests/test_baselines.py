"""Simple forecasts: what they give on series whose rule is known, and what they refuse."""

import pytest
import torch

from course_lib.fitting import autoregression, choose_autoregression, persistence, seasonal_naive

REAL = torch.float64
ANGLE = 0.7 * torch.arange(24, dtype=REAL)
WAVE = torch.stack((ANGLE.sin(), ANGLE.cos()), 1) + 2


def noisy(n, seed=0):
    """An AR(2) in two variables that do not see each other, with noise 0.1."""
    draw, x = torch.Generator().manual_seed(seed), [torch.zeros(2, dtype=REAL)] * 2
    for _ in range(n):
        x.append(0.3 + 1.2 * x[-1] - 0.6 * x[-2] + 0.1 * torch.randn(2, generator=draw, dtype=REAL))
    return torch.stack(x[2:])


def test_persistence_and_season():
    assert torch.equal(persistence(WAVE, 3), WAVE[-1].expand(3, 2))
    assert torch.equal(seasonal_naive(WAVE, 5, period=4), WAVE[[20, 21, 22, 23, 20]])


@pytest.mark.parametrize("order,joint,parameters", [(2, False, 6), (1, True, 6)])
def test_a_sine_is_continued_exactly(order, joint, parameters):
    """A sine obeys a recursion of order 2, or of order 1 together with its cosine."""
    made = autoregression(WAVE[:16], order, joint=joint)
    assert torch.allclose(made.forecast(WAVE[:16], 8), WAVE[16:], atol=1e-8)
    assert made.parameters == parameters and made.noise.max() < 1e-8


def test_coefficients_and_noise_are_recovered():
    made = autoregression(noisy(4000), 2)
    assert torch.allclose(made.intercept, torch.full((2,), 0.3, dtype=REAL), atol=0.03)
    own = made.coefficients.diagonal(dim1=1, dim2=2).T  # (variable, lag)
    assert torch.allclose(own, torch.tensor([1.2, -0.6], dtype=REAL), atol=0.05)
    assert torch.allclose(made.noise, torch.full((2,), 0.1, dtype=REAL), atol=0.01)
    futures = made.simulate(noisy(50), 4, draws=4000, seed=1)
    assert futures.shape == (4000, 4, 2)
    assert torch.allclose(futures.mean(0), made.forecast(noisy(50), 4), atol=0.02)
    assert torch.allclose(futures[:, 0].std(0), made.noise, rtol=0.1)


def test_noise_has_the_degrees_of_freedom_that_are_left_and_draws_go_by_the_seed():
    series = noisy(8)
    made = autoregression(series, 2)  # six rows to fit, three unknowns a variable
    left = torch.stack([series[k] - made.forecast(series[:k], 1)[0] for k in range(2, 8)])
    assert torch.allclose(made.noise, (left.square().sum(0) / (6 - 3)).sqrt())
    one, same, other = (made.simulate(series, 2, draws=3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_the_choice_sees_only_what_comes_before_the_years_held_out():
    candidates = [(1, False), (2, False), (1, True)]
    best, errors = choose_autoregression(WAVE, 5, candidates)
    assert errors[1, False] > 0.1 > errors[2, False] and best in {(2, False), (1, True)}
    changed = WAVE.clone()
    changed[-5:] += 1.0
    _, shifted = choose_autoregression(changed, 5, candidates)
    forecast = autoregression(WAVE[:-5], 1).forecast(WAVE[:-5], 5)
    assert shifted[1, False] == pytest.approx((forecast - changed[-5:]).square().mean().sqrt().item())


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: persistence(torch.zeros(3), 2), "series: expected finite"),
        (lambda: seasonal_naive(WAVE[:3], 2, period=10), "series: has 3 rows, a period of 10 needs at least 10"),
        (lambda: autoregression(WAVE, 0), "order: expected at least 1"),
        (lambda: autoregression(WAVE[:7], 2, joint=True), "series: has 7 rows, order 2, joint needs"),
        (lambda: autoregression(WAVE * torch.nan, 1), "series: expected finite"),
    ],
)
def test_errors_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
