"""Amplification computed from the methods against the closed forms of the textbooks; growth against known factors."""

import math

import pytest
import torch

from course_lib import stability
from course_lib.integrators import METHODS, PARTITIONED
from course_lib.stability import amplification_matrix, orbit, spectral_radius, stability_function

DOUBLE = torch.float64
Z = torch.complex(torch.linspace(-4, 2, 13, dtype=DOUBLE)[:, None].expand(13, 9),
                  torch.linspace(-3, 3, 9, dtype=DOUBLE).expand(13, 9))
CLOSED = {
    "euler": lambda z: 1 + z,
    "midpoint": lambda z: 1 + z + z**2 / 2,
    "heun": lambda z: 1 + z + z**2 / 2,
    "rk4": lambda z: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24,
    "backward_euler": lambda z: 1 / (1 - z),
    "trapezoid": lambda z: (1 + z / 2) / (1 - z / 2),
}


@pytest.mark.parametrize("method", CLOSED)
def test_stability_function_is_the_closed_form(method):
    z = Z + 0.01  # off the poles at 1 and 2
    assert torch.allclose(stability_function(method, z), CLOSED[method](z), rtol=1e-12, atol=1e-12)


def oscillator(omega=1.0):
    return omega * stability.matrix("imaginary")


RADII = {
    "euler": lambda s: math.sqrt(1 + s**2),
    "backward_euler": lambda s: 1 / math.sqrt(1 + s**2),
    "trapezoid": lambda s: 1.0,
    # Roots of λ² - (2 - s²) λ + 1, of product 1.
    **dict.fromkeys(PARTITIONED, lambda s: 1.0 if s <= 2 else s**2 / 2 - 1 + math.sqrt((s**2 / 2 - 1) ** 2 - 1)),
}


@pytest.mark.parametrize("method", RADII)
@pytest.mark.parametrize("step", [0.1, 0.5, 1.0, 1.9, 2.1, 3.0])
def test_spectral_radii_on_the_oscillator(method, step):
    M = amplification_matrix(method, oscillator(2.0), step / 2)
    assert float(spectral_radius(M)) == pytest.approx(RADII[method](step), rel=1e-12)


def test_at_two_verlet_is_defective_and_its_powers_grow_linearly():
    M = amplification_matrix("verlet", oscillator(), 2.0)
    assert float(spectral_radius(M)) == pytest.approx(1, abs=1e-7)
    sizes = orbit(M, torch.tensor([1.0, 1.0], dtype=DOUBLE), 1000).norm(dim=1)
    assert float(sizes[1000] / sizes[100]) == pytest.approx(10, rel=0.01)


def test_orbit_repeats_the_step():
    from course_lib.dynamics import Oscillator
    from course_lib.integrators import solve

    x0 = torch.tensor([0.3, -1.0], dtype=DOUBLE)
    M = amplification_matrix("rk4", oscillator(1.7), 0.2)
    steps = solve(Oscillator(1.7), x0, torch.arange(6, dtype=DOUBLE) * 0.2, method="rk4")
    assert torch.allclose(orbit(M, x0, 5), steps, atol=1e-15)


def test_region_of_euler_is_the_disc_around_minus_one():
    re, im = torch.linspace(-3, 1, 81), torch.linspace(-2, 2, 81)
    inside = stability.stability_region("euler", re, im) <= 1
    disc = (re[None, :].double() + 1) ** 2 + im[:, None].double() ** 2 <= 1
    assert (inside != disc).float().mean() < 0.005 and inside.any()


def test_test_matrices_have_the_eigenvalues_they_are_named_for():
    eigenvalues = {kind: torch.linalg.eigvals(stability.matrix(kind)) for kind in stability.TEST_MATRICES}
    assert (eigenvalues["positive"].real > 0).all() and (eigenvalues["negative"].real < 0).all()
    assert (eigenvalues["imaginary"].real == 0).all() and (eigenvalues["imaginary"].imag != 0).all()
    assert (eigenvalues["zero"] == 0).all() and (eigenvalues["nilpotent"] == 0).all()


def test_growth_of_a_linear_map_is_found_and_bounded_by_the_worst_case():
    A = torch.tensor([[3.0, 0.0], [0.0, 0.5]], dtype=DOUBLE)
    x = torch.randn(4, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    layers = stability.perturbation_growth(lambda x: [x, x @ A.mT], x, directions=200, seed=1)
    assert layers.shape == (2, 4)
    assert torch.allclose(layers[0], torch.ones(4, dtype=DOUBLE))
    assert (layers[1] <= 3 + 1e-9).all() and (layers[1] > 2.9).all()
    assert torch.allclose(stability.jacobian_norm(lambda x: x @ A.mT, x), torch.full((4,), 3.0, dtype=DOUBLE))


def test_growth_is_that_of_a_change_of_the_size_given():
    x = torch.tensor([[1.0], [3.0]], dtype=DOUBLE)
    for size in ({}, {"size": 0.5}):  # |(x ± s)² - x²| / s = |2x ± s|
        found = stability.perturbation_growth(torch.square, x, **size, directions=1, seed=0)
        beyond = (found - 2 * x[:, 0]).abs()
        assert torch.allclose(beyond, torch.full_like(beyond, size.get("size", 1e-3)), rtol=1e-9)


def test_the_seed_draws_the_directions():
    x, A = torch.zeros(1, 3, dtype=DOUBLE), torch.diag(torch.tensor([3.0, 1.0, 0.1], dtype=DOUBLE))
    one, again, other = (stability.perturbation_growth(lambda x: x @ A, x, directions=1, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_faults_are_named():
    with pytest.raises(ValueError, match=r"A: a partitioned method needs the form"):
        amplification_matrix("verlet", torch.eye(2), 0.1)
    with pytest.raises(ValueError, match="method: 'dopri5' chooses its own steps"):
        amplification_matrix("dopri5", torch.eye(2), 0.1)
    with pytest.raises(ValueError, match=r"A: a partitioned method needs the form"):
        amplification_matrix("verlet", torch.tensor([[0.0, 1.0], [-1.0, -0.1]]), 0.1)
    with pytest.raises(ValueError, match=r"A: expected a square matrix, got shape \(2, 3\)"):
        amplification_matrix("euler", torch.ones(2, 3), 0.1)
    with pytest.raises(TypeError, match=r"A: dtype torch.int64 cannot hold a step of size h"):
        amplification_matrix("rk4", torch.tensor([[0, 1], [-1, 0]]), 0.1)
    with pytest.raises(ValueError, match="'verlet' steps two halves"):
        stability_function("verlet", Z)
    with pytest.raises(ValueError, match="kind: 'real' is unknown"):
        stability.matrix("real")
    assert set(CLOSED) >= set(METHODS)
