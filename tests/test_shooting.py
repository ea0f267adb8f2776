"""Shooting and rollouts: segments against the plain solver, known fields recovered, seeds together as alone."""

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn

from course_lib.dynamics import CubicSpiral, LotkaVolterra
from course_lib.fitting import full_rollout, growing_horizon, multiple_shooting
from course_lib.fitting.horizon import window
from course_lib.fitting.segments import cut, shoot
from course_lib.integrators import METHODS, solve
from course_lib.train import NonFiniteLoss, cosine


class Linear(nn.Module):
    """x' = Ax: the field whose answer is known."""

    def __init__(self, seed=0, scale=0.1):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.A = nn.Parameter(scale * torch.randn(2, 2, dtype=torch.float64, generator=draw))

    def forward(self, t, x):
        return x @ self.A.T


class Net(nn.Module):
    def __init__(self, seed, width=24):
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2))

    def forward(self, t, x):
        return self.net(x)


TRUE = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=torch.float64)
T = torch.linspace(0, 3, 31, dtype=torch.float64)
SPIRAL = torch.stack([torch.linalg.matrix_exp(s * TRUE) @ torch.tensor([2.0, 0.0], dtype=torch.float64) for s in T])


def orbit(n=101, end=10.0):
    """Lotka–Volterra over three turns, by scipy."""
    t = torch.linspace(0, end, n, dtype=torch.float64)
    lv = LotkaVolterra(1.5, 1.0, 3.0, 1.0)
    found = solve_ivp(lambda s, x: lv(s, torch.tensor(x)).numpy(), (0, end), [1, 1], t_eval=t, rtol=1e-9, atol=1e-9)
    return t, torch.tensor(found.y.T)


@pytest.mark.parametrize("group", [1, 4, 7, 30, None])
@pytest.mark.parametrize("steps", [1, 2])
def test_segments_begun_on_a_solution_give_that_solution(group, steps):
    def forced(t, x):  # depends on the time: each segment must be given its own
        return CubicSpiral()(t, x) + torch.cat((torch.sin(t) * torch.ones_like(x[..., :1]), 0 * x[..., :1]), -1)

    t = torch.linspace(0, 1, 31, dtype=torch.float64) ** 1.5  # uneven
    x0 = torch.tensor([2.0, 0.0], dtype=torch.float64)
    whole = solve(forced, x0, t, method="rk4", steps=steps)
    pieces = cut(t, group)
    seen, ends = shoot(forced, whole[pieces.first], pieces, METHODS["rk4"], steps)
    torch.testing.assert_close(seen, whole[1:], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ends[-1], whole[-1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("starts", ["free", "data"])
def test_shooting_recovers_a_linear_field(starts):
    field = Linear()
    fit = multiple_shooting(field, T, SPIRAL, epochs=600, lr=0.05, group=3, starts=starts, target=1e-7)
    assert fit.arrived and fit.rollout <= 1e-7
    torch.testing.assert_close(field.A.detach(), TRUE, rtol=0.01, atol=0.005)
    rolled = solve(field, fit.x0, T)  # the error reported is that of the plain solver with the weights handed back
    assert (rolled - SPIRAL).square().mean().item() == pytest.approx(fit.rollout, rel=1e-6)
    assert len(fit.losses) == fit.epoch and fit.nfe == 4 * 3 * len(fit.losses)


def test_the_loss_is_the_misfit_and_the_jumps_and_the_penalty_and_the_rollout_neither():
    """By hand, before the first step: two segments of two gaps, begun at the data."""
    field, t, data = Linear(scale=1.0), T[:5], SPIRAL[:5]
    with torch.no_grad():
        ends = [solve(field, data[k], t[k : k + 3]) for k in (0, 2)]
        misfit = sum((end - data[k : k + 3]).square().sum() for k, end in zip((0, 2), ends, strict=True)) / (2 * 6)
        jump = (ends[0][-1] - data[2]).square().mean()
        rollout = (solve(field, data[0], t) - data).square().mean().item()
    options = {"group": 2, "epochs": 1, "lr": 1e-9, "continuity": 0.7, "penalty": lambda f: 3 * f.A.square().sum()}
    fit = multiple_shooting(field, t, data, **options)
    weights = 3 * field.A.detach().square().sum()
    assert fit.losses[0].item() == pytest.approx((misfit + 0.7 * jump + weights).item(), rel=1e-6)
    assert fit.rollouts[0].item() == pytest.approx(rollout, rel=1e-6)
    grown = full_rollout(field, t, data, epochs=1, lr=1e-9, penalty=options["penalty"])
    assert grown.losses[0].item() == pytest.approx(rollout + weights.item(), rel=1e-6)
    assert grown.rollouts[0].item() == pytest.approx(rollout, rel=1e-6)


def test_continuity_joins_the_segments():
    noisy = SPIRAL + 0.1 * torch.randn(SPIRAL.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gaps = {}
    for weight in (0.0, 100.0):
        field = Linear()
        fit = multiple_shooting(field, T, noisy, epochs=250, lr=0.05, group=3, continuity=weight, every=250)
        pieces = cut(T, 3)
        _, ends = shoot(field, fit.starts, pieces, METHODS["rk4"], 1)
        gaps[weight] = (ends[:-1] - fit.starts[1:]).norm(dim=1).mean().item()
    assert gaps[100.0] < 0.02 < 0.05 < gaps[0.0]


def test_free_starts_see_through_noise_that_starts_at_the_data_take_for_the_state():
    noisy = SPIRAL + 0.1 * torch.randn(SPIRAL.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    error = {}
    for starts in ("free", "data"):
        field = Linear()
        multiple_shooting(field, T, noisy, epochs=400, lr=0.05, group=3, starts=starts, every=400)
        error[starts] = (field.A.detach() - TRUE).norm().item()
    assert error["free"] < 0.5 * error["data"]


def test_a_state_of_which_the_data_show_a_part():
    guess = torch.stack((SPIRAL[:, 0], torch.gradient(SPIRAL[:, 0], spacing=(T,))[0] / 2), 1)
    field, options = Linear(), {"group": 5, "guess": guess, "observe": lambda x: x[..., :1]}
    begun = multiple_shooting(Linear(), T, SPIRAL[:, :1], epochs=1, lr=1e-12, **options)
    torch.testing.assert_close(begun.starts, guess[::5][:-1])
    fit = multiple_shooting(field, T, SPIRAL[:, :1], epochs=500, lr=0.05, target=1e-4, **options)
    assert fit.arrived and fit.x0.shape == (2,)
    rates = torch.linalg.eigvals(field.A.detach())  # the hidden variable's units are free, the eigenvalues are not
    torch.testing.assert_close(rates.imag.abs(), torch.full((2,), 2.0, dtype=torch.float64), rtol=0.02, atol=0.0)


@pytest.mark.parametrize("traced", [False, True])
def test_seeds_together_are_seeds_alone(traced):
    options = {"epochs": 20, "lr": 0.01, "group": 4, "every": 10, "target": 1.0}
    t, data = orbit(41, 4.0)
    together = [Net(s).double() for s in range(3)]
    fit = multiple_shooting(together, t, data, traced=traced, **options)
    assert fit.losses.shape == (20, 3) and fit.starts.shape == (3, 10, 2)
    for s in range(3):
        alone = Net(s).double()
        single = multiple_shooting(alone, t, data, traced=False, **options)
        assert single.rollout == pytest.approx(fit.rollout[s].item(), rel=1e-8) and single.epoch == fit.epoch[s]
        for a, b in zip(alone.parameters(), together[s].parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("schedule, clip", [(None, None), (cosine, 0.63)])
def test_adam_is_torchs_adam(schedule, clip):
    mine, theirs = Linear(), Linear()
    full_rollout(mine, T[:6], SPIRAL[:6], epochs=5, lr=0.03, every=1, schedule=schedule, clip=clip)
    opt, norms = torch.optim.Adam(theirs.parameters(), lr=0.03), []
    for k in range(5):
        opt.param_groups[0]["lr"] = 0.03 * (schedule(k / 5) if schedule else 1)
        opt.zero_grad()
        (solve(theirs, SPIRAL[0], T[:6]) - SPIRAL[:6]).square().mean().backward()
        norms.append(torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip or torch.inf).item())
        opt.step()
    assert clip is None or max(norms) > clip > min(norms)  # else this shows nothing of it
    torch.testing.assert_close(mine.A, theirs.A, rtol=1e-6, atol=1e-9)


def test_the_full_rollout_ends_at_the_mean_and_shooting_arrives():
    t, data = (v.float() for v in orbit(51))
    mean = (data - data.mean(0)).square().mean().item()
    plain = full_rollout(Net(0), t, data, epochs=60, lr=0.01, every=20)
    shot = multiple_shooting(Net(0), t, data, epochs=1200, lr=0.02, group=3, starts="data", target=2e-2)
    assert plain.failed < 0 and 0.5 * mean < plain.rollout < 1.2 * mean
    assert shot.arrived and shot.rollout <= 2e-2


def test_a_growing_horizon_goes_stage_by_stage():
    field = Linear()
    fit = growing_horizon(field, T, SPIRAL, horizons=(0.5, 1.5, 3.0), epochs=(150, 120, 120), lr=0.05, target=1e-4)
    assert fit.arrived
    assert (solve(field, SPIRAL[0], T) - SPIRAL).square().mean().item() == pytest.approx(fit.rollout, rel=1e-6)
    assert fit.checks.tolist() == sorted(fit.checks.tolist()) and len(fit.checks) == len(fit.rollouts)
    started = growing_horizon(
        Linear(), T, SPIRAL + 0.05, horizons=(1.5, 3.0), epochs=50, lr=0.05, free_start=True, every=5
    )
    assert not torch.equal(started.x0, SPIRAL[0] + 0.05)


def test_a_blow_up_keeps_the_last_good_weights_or_says_so():
    class Explosive(Linear):
        def forward(self, t, x):
            return (x @ self.A.T) ** 7

    field = Explosive()
    fit = full_rollout(field, T, SPIRAL, epochs=50, lr=0.3, every=1)
    assert fit.failed > fit.epoch > 0 and torch.isfinite(field.A).all() and torch.isfinite(torch.tensor(fit.rollout))
    with pytest.raises(NonFiniteLoss, match=r"not finite"):
        full_rollout(Explosive(scale=1e3), T, SPIRAL, epochs=5, lr=1.0)


@pytest.mark.parametrize("change, message", [
    ({"group": 0}, "group: expected a number of gaps from 1 to 30"),
    ({"starts": "there"}, "starts: expected 'free' or 'data'"),
    ({"method": "rk5"}, "method: 'rk5' is unknown"),
    ({"steps": 0}, "steps: expected a whole number"),
    ({"data": SPIRAL[:5]}, "data: has 5 rows for 31 times"),
    ({"data": SPIRAL * torch.nan}, "data: has NaN"),
    ({"observe": lambda x: x[..., :1]}, "observe: states that the data do not show need guess"),
    ({"models": []}, "models: expected a torch module"),
    ({"models": [Linear(), Net(0)]}, "models: the seeds' parameters differ"),
])  # fmt: skip
def test_errors_name_the_argument(change, message):
    arguments = {"models": Linear(), "t": T, "data": SPIRAL, "epochs": 1, "lr": 0.1} | change
    with pytest.raises((ValueError, TypeError), match=message):
        multiple_shooting(**arguments)


def test_a_window_holds_the_times_up_to_its_horizon_and_the_count_goes_by_its_gaps():
    assert [window(T, horizon) for horizon in (0.1, 0.55, 1.5, 3.0, 9.0)] == [2, 6, 16, 31, 31]
    fit = growing_horizon(Linear(), T, SPIRAL, horizons=(0.5, 3.0), epochs=(3, 2), lr=1e-3, steps=2)
    assert fit.nfe == 4 * 2 * (3 * 5 + 2 * 30) and len(fit.losses) == 5


def test_a_rollout_may_be_begun_elsewhere_than_at_the_data():
    x0 = torch.tensor([1.0, 0.5], dtype=torch.float64)
    fit = growing_horizon(Linear(), T, SPIRAL, horizons=(3.0,), epochs=1, lr=1e-3, x0=x0)
    assert torch.equal(fit.x0, x0)


def test_a_seed_that_has_stopped_stays_as_it_was_and_has_no_more_losses():
    there, on_the_way = Linear(), Linear()
    with torch.no_grad():
        there.A.copy_(TRUE + 0.01)
    fit = full_rollout([there, on_the_way], T, SPIRAL, epochs=12, lr=1e-3, every=4, target=0.01)
    assert torch.equal(there.A, TRUE + 0.01) and fit.epoch[0] == 0 and 1e-4 < fit.rollout[0] < 0.01 < fit.rollout[1]
    assert fit.losses[:, 0].isnan().all() and fit.losses[:, 1].isfinite().all()


def test_a_seed_that_blows_up_is_left_there_and_the_other_goes_on():
    class Explosive(Linear):
        def forward(self, t, x):
            return (x @ self.A.T) ** 7

    fit = full_rollout([Explosive(), Explosive(scale=1e-6)], T, SPIRAL, epochs=50, lr=0.3, every=1)
    end = fit.failed[0]
    assert 0 < end < 50 and fit.failed[1] == -1 and fit.losses[:, 1].isfinite().all()
    assert fit.losses[: end - 1, 0].isfinite().all() and fit.losses[end - 1 :, 0].isnan().all()


def test_horizons_must_grow():
    with pytest.raises(ValueError, match="horizons: expected increasing times"):
        growing_horizon(Linear(), T, SPIRAL, horizons=(3.0, 1.0), epochs=1, lr=0.1)
    with pytest.raises(ValueError, match=r"horizons: 0\.01 leaves no time after the first"):
        growing_horizon(Linear(), T, SPIRAL, horizons=(0.01, 1.0), epochs=1, lr=0.1)
    with pytest.raises(ValueError, match="epochs: has 3 entries for 2 horizons"):
        growing_horizon(Linear(), T, SPIRAL, horizons=(1.0, 3.0), epochs=(1, 2, 3), lr=0.1)
