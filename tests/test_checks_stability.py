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


def test_an_adjoint_by_anything_but_convolutions_is_refused():
    W, y = torch.randn(4, 3, 3, 3), torch.randn(2, 4, 6, 5)
    kernel = W.flip(2, 3).transpose(0, 1)
    z = torch.zeros(2, 3, 6, 5)
    with checks.OnlyConvolutions():
        by_hand = functional.conv2d(y, kernel, padding=1)
    refused = {
        "a transposed convolution was called": lambda: functional.conv_transpose2d(y, W, padding=1),
        "automatic differentiation was used": lambda: torch.nn.grad.conv2d_input(z.shape, W, y, padding=1),
        "a product of matrices": lambda: (kernel.flatten(1) @ functional.unfold(y, 3, padding=1)).view_as(z),
    }
    for said, answer in refused.items():
        torch.testing.assert_close(answer(), by_hand)
        with pytest.raises(CheckFailed, match=said), checks.OnlyConvolutions():
            answer()
