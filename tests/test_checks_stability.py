"""The checks of chapter 2 accept the library's own methods and say what is wrong with others."""

import pytest
import torch
from torch.nn import functional

from course_lib import checks
from course_lib.checks import CheckFailed
from course_lib.integrators import PARTITIONED, Partitioned


def as_pair(name):
    def step(f, g, y, z, h):
        s = Partitioned(lambda t, z: f(z), lambda t, y: g(y))
        return s.split(PARTITIONED[name].step(s, 0.0, s.join(y, z), h))

    return step


@pytest.mark.parametrize("name", PARTITIONED)
def test_the_librarys_methods_have_their_orders(name):
    order = PARTITIONED[name].order
    checks.partitioned_order(as_pair(name), order, method=name)
    with pytest.raises(CheckFailed, match="halving h divides your error by"):
        checks.partitioned_order(as_pair(name), order + 1, method=name)


def test_only_symmetric_methods_return():
    checks.symmetric(as_pair("verlet"), method="Verlet")
    with pytest.raises(CheckFailed, match="misses the start by"):
        checks.symmetric(as_pair("symplectic_euler"), method="Verlet")


def test_a_step_that_returns_no_pair_is_named():
    with pytest.raises(CheckFailed, match=r"expected the pair \(y, z\), got Tensor"):
        checks.symmetric(lambda f, g, y, z, h: y, method="Verlet")


def test_adjoint_sees_a_kernel_that_is_not_flipped():
    W, z, y = (torch.randn(s, dtype=torch.float64) for s in ((2, 2, 3, 3), (1, 2, 5, 5), (1, 2, 5, 5)))
    conv = lambda z: functional.conv2d(z, W, padding=1)  # noqa: E731
    checks.adjoint(conv, lambda y: functional.conv_transpose2d(y, W, padding=1), z, y, what="Kᵀ")
    with pytest.raises(CheckFailed, match="⟨Kz, y⟩ ="):
        checks.adjoint(conv, lambda y: functional.conv2d(y, W, padding=1), z, y, what="Kᵀ")
