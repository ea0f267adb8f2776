"""Sensitivities against finite differences and autograd, Levenberg–Marquardt against scipy, and the published fit."""

import pytest
import torch
from scipy.optimize import least_squares

from course_lib.data import pelts
from course_lib.dynamics import LotkaVolterra, Oscillator
from course_lib.fitting import (
    Fit,
    SolveError,
    integrate,
    levenberg_marquardt,
    levenberg_marquardt_rows,
    multi_start,
    sensitivities,
    trajectory_residuals,
    trajectory_rows,
)
from course_lib.fitting.sensitivities import sensitivities_rows


def model(p):
    """Lotka–Volterra from the logarithms of (alpha, beta, gamma, delta, u0, v0)."""
    *rates, u0, v0 = p.exp().unbind(-1)
    return LotkaVolterra(*rates), torch.stack((u0, v0), dim=-1)


def logs(*values):
    return torch.tensor(values, dtype=torch.float64).log()


GUESS = logs(0.63, 0.031, 0.63, 0.018, 30.0, 4.0)
TRUTH = logs(0.55, 0.028, 0.80, 0.024, 33.0, 6.0)
YEARS = torch.arange(21, dtype=torch.float64)


def test_sensitivities_against_finite_differences():
    tight = {"rtol": 1e-10, "atol": 1e-10}
    x, S = sensitivities(model, TRUTH, YEARS, **tight)
    assert x.shape == (21, 2) and S.shape == (21, 2, 6)
    assert torch.allclose(x, integrate(*model(TRUTH), YEARS, **tight), rtol=1e-7)
    h = 1e-5
    for k, unit in enumerate(torch.eye(6, dtype=torch.float64)):
        ahead, behind = (integrate(*model(TRUTH + s * h * unit), YEARS, **tight) for s in (1, -1))
        assert torch.allclose(S[..., k], (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-4)


def test_sensitivities_against_autograd_through_the_solver():
    p = TRUTH.clone().requires_grad_()
    end = integrate(*model(p), YEARS[:6], rtol=1e-9, atol=1e-9)[-1]
    by_autograd = torch.stack([torch.autograd.grad(component, p, retain_graph=True)[0] for component in end])
    assert torch.allclose(sensitivities(model, TRUTH, YEARS[:6], rtol=1e-9, atol=1e-9)[1][-1], by_autograd, rtol=1e-5)


def test_sensitivities_where_the_start_or_the_field_does_not_depend_on_p():
    fixed = torch.tensor([1.0, 0.0], dtype=torch.float64)
    t = torch.linspace(0, 2, 5, dtype=torch.float64)
    x, S = sensitivities(lambda p: (Oscillator(p[..., 0]), fixed.expand(*p.shape[:-1], 2)), logs(3.0), t)
    q, v = Oscillator(logs(3.0).item()).flow(t, fixed.expand(5, 2)).unbind(-1)
    assert torch.allclose(x[:, 0], q, atol=1e-5)
    assert torch.allclose(S[:, 0, 0], t * v, atol=1e-4)  # d cos(omega t) / d omega = -t sin(omega t)
    _, S = sensitivities(lambda p: (Oscillator(1.0), p), fixed, t)
    assert torch.allclose(S[-1], torch.stack([Oscillator().flow(2.0, e) for e in torch.eye(2).double()], -1), atol=1e-5)


def test_integrate_reports_every_failure_as_a_solve_error():
    one = torch.ones(2, dtype=torch.float64)
    with pytest.raises(SolveError, match=r"no solution up to t = 2: "):  # x' = x² leaves every bound at t = 1
        integrate(lambda t, x: x**2, one, torch.tensor([0.0, 2.0], dtype=torch.float64))
    with pytest.raises(SolveError, match="max_num_steps"):
        integrate(lambda t, x: 50 * x.flip(-1) * one.cumsum(0), one, YEARS[:2], max_steps=3)


def test_linear_problem_is_solved_exactly():
    A = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    b = A @ torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64) + 0.1 * torch.arange(12) % 1
    fit = levenberg_marquardt(lambda p: (A @ p - b, A), torch.zeros(3, dtype=torch.float64), gtol=1e-10)
    exact = torch.linalg.lstsq(A, b.unsqueeze(1)).solution.squeeze(1)
    assert fit.converged and torch.allclose(fit.p, exact, atol=1e-8)
    r = A @ exact - b
    covariance = r.square().sum() / (12 - 3) * torch.linalg.inv(A.T @ A)
    assert torch.allclose(fit.covariance, covariance, rtol=1e-5)
    assert torch.allclose(fit.standard_errors, covariance.diagonal().sqrt(), rtol=1e-5)


def test_ends_at_the_limit_of_rounding():
    A = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    b = torch.arange(12, dtype=torch.float64)
    fit = levenberg_marquardt(lambda p: (A @ p - b, A), torch.zeros(3, dtype=torch.float64), gtol=1e-30, xtol=1e-15)
    assert fit.converged and fit.message == "the step is negligible"
    with pytest.raises(ValueError, match="xtol: must be positive"):
        levenberg_marquardt(lambda p: (A @ p - b, A), torch.zeros(3, dtype=torch.float64), xtol=0)


def test_rosenbrock_and_a_region_without_solutions():
    failures = []

    def rosenbrock(p):
        if p[0] < -1.3 or p[1] < 0:
            failures.append(p)
            raise SolveError("outside")
        r = torch.stack((10 * (p[1] - p[0] ** 2), 1 - p[0]))
        return r, torch.tensor([[-20 * p[0].item(), 10], [-1, 0]], dtype=p.dtype)

    fit = levenberg_marquardt(rosenbrock, torch.tensor([-1.2, 1.0], dtype=torch.float64), damping=1e-6)
    assert fit.converged and torch.allclose(fit.p, torch.ones(2, dtype=torch.float64), atol=1e-5)
    assert fit.failed_solves == len(failures) > 0
    assert all(later < earlier for earlier, later in zip(fit.costs, fit.costs[1:], strict=False))


def test_recovers_known_parameters_from_exact_data():
    data = integrate(*model(TRUTH), YEARS, rtol=1e-9, atol=1e-9)
    fit = levenberg_marquardt(trajectory_residuals(model, YEARS, data, rtol=1e-8, atol=1e-8), GUESS)
    assert fit.converged and fit.rmse < 1e-5
    assert (fit.p - TRUTH).abs().max() < 1e-5


def test_noisy_data_recovered_within_the_standard_errors():
    clean = integrate(*model(TRUTH), YEARS)
    noise = 0.2 * torch.randn(clean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fit = levenberg_marquardt(trajectory_residuals(model, YEARS, clean * noise.exp()), GUESS)
    z = (fit.p - TRUTH) / fit.standard_errors
    # Standard errors far too small fail the first, far too large the second.
    assert fit.converged and z.abs().max() < 3 and z.abs().max() > 0.1
    assert fit.rmse == pytest.approx(0.2, rel=0.3)


@pytest.mark.parametrize("log, expected, digits", [
    (True, (0.5402, 0.0272, 0.7964, 0.0237, 34.60, 5.84), (4, 4, 4, 4, 2, 2)),
    (False, (0.4812, 0.0248, 0.9260, 0.0275, 34.91, 3.86), (4, 4, 4, 4, 2, 2)),
])
def test_hudson_bay_parameters(log, expected, digits):
    series = pelts()
    problem = trajectory_residuals(model, series.t, series.counts, log=log)
    fit = levenberg_marquardt(problem, GUESS)
    assert fit.converged
    assert tuple(round(v, d) for v, d in zip(fit.p.exp().tolist(), digits, strict=True)) == expected
    x = integrate(*model(fit.p), series.t)
    rmse = [round(v, 2) for v in (x - series.counts).square().mean(0).sqrt().tolist()]
    assert rmse == ([5.09, 4.18] if log else [4.28, 3.17])
    if log:
        assert round(fit.rmse, 4) == 0.2192
        stan, _ = problem(logs(0.5469, 0.02775, 0.8001, 0.02409, 34.04, 5.936))
        assert round(stan.square().mean().sqrt().item(), 4) == 0.2237


def test_agrees_with_minpack():
    series = pelts()

    def residuals(p):  # scipy differentiates by differences, so its solves are tighter
        x = integrate(*model(torch.tensor(p)), series.t, rtol=1e-8, atol=1e-8)
        return (x.log() - series.counts.log()).flatten().numpy()

    ours = levenberg_marquardt(trajectory_residuals(model, series.t, series.counts), GUESS)
    theirs = least_squares(residuals, ours.p.numpy() + 0.01, method="lm", diff_step=1e-5)
    assert ours.p.tolist() == pytest.approx(theirs.x, abs=1e-4)
    assert ours.cost == pytest.approx(2 * theirs.cost, rel=1e-5)


def test_rows_of_sensitivities_are_those_of_each_row():
    p = torch.stack((TRUTH, GUESS))
    x, S = sensitivities_rows(model, p, YEARS, steps=32)
    for k in range(2):
        alone, s = sensitivities(model, p[k], YEARS, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(x[k], alone, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(S[k], s, rtol=1e-5, atol=1e-4)
    fixed = torch.tensor([1.0, 0.0], dtype=torch.float64)
    start = lambda p: (Oscillator(p[..., 0]), fixed.expand(*p.shape[:-1], 2))  # noqa: E731
    x, S = sensitivities_rows(start, logs(3.0, 2.0).unsqueeze(1), YEARS[:3], steps=64)
    assert torch.allclose(x[0], Oscillator(logs(3.0).item()).flow(YEARS[:3], fixed.expand(3, 2)), atol=1e-6)
    assert torch.allclose(S[1, :, 0, 0], YEARS[:3] * x[1, :, 1], atol=1e-6)


def test_many_starts_side_by_side_and_data_of_their_own():
    series = pelts()
    starts = torch.stack((GUESS, TRUTH, logs(80.0, 50.0, 0.01, 50.0, 30.0, 4.0)))
    found = levenberg_marquardt_rows(trajectory_rows(model, series.t, series.counts, steps=8), starts)
    alone = levenberg_marquardt(trajectory_residuals(model, series.t, series.counts, rtol=1e-7, atol=1e-7), GUESS)
    for fit in found[:2]:
        assert fit.converged
        torch.testing.assert_close(fit.p, alone.p, rtol=0, atol=1e-4)
        torch.testing.assert_close(fit.standard_errors, alone.standard_errors, rtol=1e-3, atol=0)
    assert isinstance(found[2], SolveError)
    both = torch.stack((series.counts, series.counts * torch.tensor([2.0, 0.5], dtype=torch.float64)))
    one, two = levenberg_marquardt_rows(trajectory_rows(model, series.t, both, steps=8), starts[:1].expand(2, -1))
    change = logs(1.0, 2.0, 1.0, 0.5, 2.0, 0.5)  # units of hare doubled, of lynx halved
    torch.testing.assert_close(two.p - one.p, change, rtol=0, atol=1e-3)


def test_rows_are_the_problem_of_each_row_in_logarithms_and_without():
    data = torch.stack([integrate(*model(p), YEARS) for p in (GUESS, TRUTH)])
    p, rows = torch.stack((TRUTH, GUESS)) + 0.01, torch.tensor([1, 0])  # not in the order of the data
    for log in (True, False):
        r, J = trajectory_rows(model, YEARS, data, log=log, steps=16)(p, rows)
        for k in (0, 1):
            problem = trajectory_residuals(model, YEARS, data[rows[k]], log=log, rtol=1e-9, atol=1e-9)
            for many, one in zip((r[k], J[k]), problem(p[k]), strict=True):
                torch.testing.assert_close(many, one, rtol=1e-3, atol=1e-4)


def test_a_solution_that_is_not_positive_has_no_logarithm():
    turning = lambda p: (Oscillator(p[..., 0]), torch.ones(*p.shape[:-1], 2, dtype=p.dtype))  # noqa: E731
    t = torch.linspace(0, 3, 4, dtype=torch.float64)
    with pytest.raises(SolveError, match="the solution is not positive"):
        trajectory_residuals(turning, t, torch.ones(4, 2, dtype=torch.float64))(torch.ones(1, dtype=torch.float64))


def test_a_search_whose_cost_hardly_falls_ends_where_asked():
    def problem(p, rows):  # of the form 1 + p², whose cost falls ever more slowly towards 1
        return torch.cat((torch.ones_like(p), p**2), 1), torch.stack((0 * p, 2 * p), 1)

    start = torch.full((1, 1), 2.0, dtype=torch.float64)
    (quick,), (whole,) = (levenberg_marquardt_rows(problem, start, ftol=ftol) for ftol in (0.1, 0.0))
    assert quick.message == "the cost hardly falls any more" and quick.solves < whole.solves
    before, last = quick.costs[-2:]
    assert before - last < 0.1 * before
    assert all(a - b >= 0.1 * a for a, b in zip(quick.costs, quick.costs[1:-1], strict=False))


def test_multi_start_reports_each_start():
    series = pelts()
    hopeless = logs(80.0, 50.0, 0.01, 50.0, 30.0, 4.0)
    problem = trajectory_residuals(model, series.t, series.counts, rtol=1e-4, atol=1e-4)
    good, bad = multi_start(problem, [GUESS, hopeless])
    assert isinstance(good, Fit) and good.rmse < 0.2193
    assert isinstance(bad, SolveError) and str(bad).startswith("p0: no residuals at the start")
    with pytest.raises(SolveError, match=r"^p0: no residuals at the start"):
        levenberg_marquardt(problem, hopeless)


def test_unconverged_fit_says_so():
    series = pelts()
    fit = levenberg_marquardt(trajectory_residuals(model, series.t, series.counts), GUESS, max_solves=2)
    assert not fit.converged and fit.message == "not converged after 2 solves" and fit.solves == 2


def test_bad_input_names_the_argument():
    series = pelts()
    with pytest.raises(ValueError, match=r"data: expected shape \(21, d\)"):
        trajectory_residuals(model, series.t, series.counts[:5])
    with pytest.raises(ValueError, match="data: every entry must be finite and positive"):
        trajectory_residuals(model, series.t, -series.counts)
    with pytest.raises(ValueError, match="data: the model gives 2 variables, the data have 1 columns"):
        trajectory_residuals(model, series.t, series.hare.unsqueeze(1))(GUESS)
    with pytest.raises(ValueError, match="p: expected a 1-D tensor"):
        sensitivities(model, GUESS.unsqueeze(0), series.t)
    with pytest.raises(ValueError, match="model: from p of shape"):
        sensitivities(lambda p: (Oscillator(), torch.ones(2, dtype=p.dtype)), GUESS, series.t)


def test_standard_errors_refuse_what_the_data_do_not_determine():
    def redundant(p):  # only the sum p0 + p1 matters
        r = torch.tensor([1.0, 2.0, 4.0], dtype=p.dtype) - p.sum()
        return r, -torch.ones(3, 2, dtype=p.dtype)

    fit = levenberg_marquardt(redundant, torch.zeros(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="covariance: the data do not determine every parameter"):
        _ = fit.covariance
    exact = levenberg_marquardt(lambda p: (p - 1, torch.eye(2, dtype=p.dtype)), torch.zeros(2, dtype=torch.float64))
    with pytest.raises(ValueError, match="covariance: 2 residuals leave no degree of freedom"):
        _ = exact.covariance
