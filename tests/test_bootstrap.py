"""The bootstrap: what is drawn, and its spread where theory knows it."""

import pytest
import torch

from course_lib.dynamics import LotkaVolterra
from course_lib.fitting import SolveError, bootstrap, levenberg_marquardt, resample, trajectory_residuals
from course_lib.integrators import solve

REAL = torch.float64
T = torch.linspace(0, 12, 61, dtype=REAL)


def model(p):
    *rates, u0, v0 = p.exp().unbind(-1)
    return LotkaVolterra(*rates), torch.stack((u0, v0), dim=-1)


def test_blocks_keep_neighbours_and_rows_together():
    residuals = torch.stack((torch.arange(20.0), 10 * torch.arange(20.0)), 1).double()
    centred = residuals - residuals.mean(0)
    drawn = resample(residuals, 50, block=4, seed=0)
    assert drawn.shape == (50, 20, 2) and torch.allclose(drawn[..., 1], 10 * drawn[..., 0])
    inside = drawn[:, :, 0].view(50, 5, 4).diff(dim=2)
    assert ((inside - 1).abs().lt(1e-9) | (inside + 19).abs().lt(1e-9)).all()  # on by one, or round the end
    single = resample(residuals, 50, seed=0)
    assert torch.isin(single[..., 0].round(decimals=6), centred[:, 0].round(decimals=6)).all()
    assert torch.equal(single, resample(residuals, 50, seed=0))
    assert not torch.equal(single, resample(residuals, 50, seed=1))


@pytest.mark.parametrize("block", [0, 21])
def test_a_block_has_to_fit(block):
    with pytest.raises(ValueError, match="block: expected 1 to 20"):
        resample(torch.zeros(20, 2), 3, block=block, seed=0)


def fitted():
    p = torch.tensor([0.55, 0.028, 0.8, 0.024, 30.0, 4.0], dtype=REAL).log()
    clean = solve(*model(p), T, method="rk4", steps=8)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=REAL)
    return levenberg_marquardt(trajectory_residuals(model, T, clean * (0.1 * noise).exp(), rtol=1e-5, atol=1e-5), p)


def test_with_independent_noise_it_agrees_with_the_jacobian():
    fit = fitted()
    again = bootstrap(model, fit.p, T, fit.residuals.view(-1, 2), replicates=150, seed=0)
    assert again.shape[1] == 6 and len(again) >= 143
    assert torch.allclose(again.std(0), fit.standard_errors, rtol=0.25)
    assert ((again.mean(0) - fit.p).abs() < 0.5 * fit.standard_errors).all()


def test_the_seed_and_the_block_decide_what_is_drawn():
    fit = fitted()
    drawn = [
        bootstrap(model, fit.p, T, fit.residuals.view(-1, 2), replicates=5, **options)
        for options in ({}, {"seed": 0, "block": 1}, {"seed": 1}, {"block": 6})
    ]
    same, seed, block = ((other - drawn[0]).abs().max().item() for other in drawn[1:])
    assert same < 1e-6 and min(seed, block) > 1e-3  # rounding is not the same each time


def test_fits_that_do_not_converge_are_an_error():
    fit = fitted()
    with pytest.raises(SolveError, match=r"bootstrap: .* of 10 fits did not converge"):
        bootstrap(model, fit.p, T, fit.residuals.view(-1, 2), replicates=10, max_solves=1)
