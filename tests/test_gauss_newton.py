"""Least squares for a net's weights: Jacobians against autograd, fields recovered, seeds together as alone."""

import pytest
import torch
from test_shooting import SPIRAL, TRUE, Linear, Net, T, orbit

from course_lib.fitting import Fit, SolveError, fit_trajectory, levenberg_marquardt, levenberg_marquardt_rows
from course_lib.fitting.gauss_newton import residuals
from course_lib.fitting.linearised import rollout_and_jacobian
from course_lib.fitting.segments import cut, shoot
from course_lib.fitting.weights import Weights
from course_lib.integrators import METHODS, solve
from course_lib.train.lm import Linearised

RK4 = METHODS["rk4"]


@pytest.mark.parametrize("group, steps", [(1, 1), (4, 1), (None, 2)])
def test_chained_step_derivatives_are_those_of_the_rollout(group, steps):
    weights = Weights(Net(0, width=4).double())
    p, pieces = weights.matrix()[0], cut(T[:10], group)
    x = torch.stack((SPIRAL, SPIRAL.flip(0)), 1)[pieces.first]  # a batch of two
    every = rollout_and_jacobian(weights, p.expand(2, -1), x.expand(2, *x.shape), pieces, RK4, steps, free=True)
    single = rollout_and_jacobian(weights, p[None], x[None], pieces, RK4, steps, free=True)
    for two, one in zip(every, single, strict=True):
        torch.testing.assert_close(two[1], one[0])
    X, by_p, by_x = (v[0] for v in every)

    def rollout(p, x):
        return weights.run(p, lambda f: shoot(f, x, pieces, RK4, steps)[0])

    exact_p, exact_x = torch.autograd.functional.jacobian(rollout, (p, x))
    torch.testing.assert_close(X.flatten(0, 1)[:9], rollout(p, x))
    torch.testing.assert_close(by_p.flatten(0, 1)[:9], exact_p)
    owner = torch.arange(9) // pieces.t.shape[1]  # a state depends on the start of its own segment and batch row
    for b in range(2):
        torch.testing.assert_close(by_x.flatten(0, 1)[:9, b], exact_x[torch.arange(9), b, :, owner, b])


def test_each_step_of_a_chain_has_its_own_time():
    class Forced(Linear):
        def forward(self, t, x):
            return (1 + t) * x @ self.A.T

    weights, pieces = Weights(Forced()), cut(T[:7], 3)
    p, x = weights.matrix()[0], SPIRAL[pieces.first]
    _, by_p, _ = rollout_and_jacobian(weights, p[None], x[None], pieces, RK4, 2)
    exact = torch.autograd.functional.jacobian(lambda p: shoot(weights.field(p), x, pieces, RK4, 2)[0], p)
    torch.testing.assert_close(by_p[0].flatten(0, 1), exact)


@pytest.mark.parametrize("free, ridge", [(False, 0.0), (True, 0.1)])
def test_residuals_and_jacobian_are_consistent(free, ridge):
    weights = Weights(Net(0, width=4).double())
    problem = residuals(weights, SPIRAL[:6], cut(T[:6], None), RK4, 1, ridge=ridge, free=free)
    p = weights.matrix()[0]
    p = torch.cat((p, SPIRAL[0] + 0.1)) if free else p
    r, J = problem(p.unsqueeze(0), torch.zeros(1))
    for k in range(0, len(p), 5):
        e = 1e-6 * torch.eye(len(p), dtype=p.dtype)[k]
        ahead, behind = (problem((p + s * e).unsqueeze(0), torch.zeros(1))[0] for s in (1, -1))
        torch.testing.assert_close(J[0, :, k], ((ahead - behind) / 2e-6)[0], rtol=1e-5, atol=1e-8)
    two = problem(torch.stack((p, 1.1 * p)), torch.arange(2))
    torch.testing.assert_close(two[0][0], r[0])
    torch.testing.assert_close(two[1][0], J[0])


@pytest.mark.parametrize("m, n", [(12, 4), (4, 12)])
def test_a_damped_step_solves_the_damped_normal_equations(m, n):
    draw = torch.Generator().manual_seed(0)
    r, J = (torch.randn(*s, dtype=torch.float64, generator=draw) for s in ((3, m), (3, m, n)))
    damping = torch.tensor([1e-3, 1.0, 10.0], dtype=torch.float64)
    d, promised = Linearised(r, J, floor=0.5).step(damping)
    scale = J.square().sum(1) + 0.25 * J.square().sum(1).mean(1, keepdim=True)
    normal = J.mT @ J + damping[:, None, None] * torch.diag_embed(scale)
    torch.testing.assert_close(d, -torch.linalg.solve(normal, (J.mT @ r.unsqueeze(2))).squeeze(2))
    left = r.square().sum(1) - (r + (J @ d.unsqueeze(2)).squeeze(2)).square().sum(1)
    torch.testing.assert_close(promised, left)


def test_rows_go_their_own_ways_as_alone():
    def rosenbrock(p):
        r = torch.stack((10 * (p[..., 1] - p[..., 0] ** 2), 1 - p[..., 0]), -1)
        J = torch.zeros(*p.shape, 2, dtype=p.dtype)
        J[..., 0, 0], J[..., 0, 1], J[..., 1, 0] = -20 * p[..., 0], 10.0, -1.0
        r = torch.where(p[..., :1] > 3, torch.nan, r)
        return r, J

    starts = torch.tensor([[-1.2, 1.0], [2.0, 2.0], [4.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    found = levenberg_marquardt_rows(lambda p, rows: rosenbrock(p), starts)
    assert isinstance(found[2], SolveError)
    for i in (0, 1):
        alone = levenberg_marquardt(rosenbrock, starts[i])
        assert isinstance(found[i], Fit) and found[i].solves == alone.solves and found[i].message == alone.message
        torch.testing.assert_close(found[i].p, alone.p, rtol=1e-12, atol=1e-12)
    assert found[3].solves == 1 and found[0].solves != found[1].solves
    stopped = levenberg_marquardt_rows(lambda p, rows: rosenbrock(p), starts[:2], target=1e-2)
    assert all(fit.message == "the target is met" and fit.cost <= 1e-2 < fit.costs[-2] for fit in stopped)


@pytest.mark.parametrize("free_start", [False, True])
def test_recovers_a_linear_field(free_start):
    field = Linear()
    fit = fit_trajectory(field, T, SPIRAL, target=1e-9, free_start=free_start, steps=2)
    assert fit.arrived
    torch.testing.assert_close(field.A.detach(), TRUE, rtol=1e-3, atol=1e-3)
    rolled = solve(field, fit.x0, T, steps=2)
    assert (rolled - SPIRAL).square().mean().item() == pytest.approx(fit.rollout, rel=1e-5, abs=1e-14)


def test_a_free_start_finds_the_start_that_noise_hid():
    noise = 0.05 * torch.randn(SPIRAL.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    data = SPIRAL + noise
    fit = fit_trajectory(Linear(), T, data, free_start=True)
    kept = fit_trajectory(Linear(), T, data)
    assert (fit.x0 - SPIRAL[0]).norm() < 0.5 * noise[0].norm()
    assert fit.rollout < kept.rollout


def test_lotka_volterra_by_a_net_and_seeds_together_are_seeds_alone():
    t, data = orbit()
    nets = [Net(s).double() for s in range(2)]
    fit = fit_trajectory(nets, t, data, target=1e-2)
    assert fit.arrived.all() and (fit.epoch < 130).all()
    alone = Net(1).double()
    single = fit_trajectory(alone, t, data, target=1e-2)
    assert single.rollout == pytest.approx(fit.rollout[1].item(), rel=1e-3)
    for a, b in zip(alone.parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_weights_kept_are_those_of_the_best_rollout_and_a_seed_that_is_there_goes_no_further():
    data = SPIRAL + 0.2 * torch.randn(SPIRAL.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    field = Linear()
    with torch.no_grad():
        field.A.copy_(TRUE)
    fit = fit_trajectory(field, T, data, groups=(1,))  # single gaps say little through so much noise
    assert fit.rollouts[1] > fit.rollouts[0] == fit.rollout and fit.epoch == 0 and torch.equal(field.A, TRUE)
    assert len(fit_trajectory(Linear(), T, SPIRAL, target=1e-2).checks) == 2  # the start, and after one stage


def test_ridge_holds_the_weights_down():
    sizes = []
    for ridge in (1e-6, 0.1):
        net = Net(0).double()
        fit_trajectory(net, T, SPIRAL, groups=(1, 5), ridge=ridge)
        sizes.append(Weights(net).matrix().norm().item())
    assert sizes[1] < 0.8 * sizes[0]


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="groups: expected at least one"):
        fit_trajectory(Linear(), T, SPIRAL, groups=())
    with pytest.raises(ValueError, match="group: expected a number of gaps"):
        fit_trajectory(Linear(), T, SPIRAL, groups=(0,))


def test_a_parameter_that_has_run_away_does_not_end_the_search_for_the_others():
    def problem(p):
        far = torch.exp(p[0] / 1e9)  # hardly counts, and hardly changes
        J = torch.tensor([[0.0, 1.0], [1e-21 * far, 0.0]], dtype=p.dtype)
        return torch.stack((p[1] - 1, 1e-12 * far)), J

    fit = levenberg_marquardt(problem, torch.tensor([-1e10, 0.0], dtype=torch.float64))
    assert fit.converged and fit.p[1].item() == pytest.approx(1)
