"""The checks on implicit layers accept what is right and name what is wrong."""

from __future__ import annotations

import pytest
import torch

from course_lib.checks import CheckFailed, SkewTanh, round_trip, separate, solves, states
from course_lib.implicit import ThetaLayer

F, X = SkewTanh(4, 1.0), states(6, 4)


class Module(torch.nn.Module):
    def forward(self, y):
        return F(y)


def layer(h: float, theta: float) -> torch.Tensor:
    return ThetaLayer(Module(), h=h, theta=theta, solver="newton")(X)


def test_the_field_is_skew_and_its_jacobian_right():
    assert torch.equal(F.A, -F.A.T)
    assert torch.linalg.matrix_norm(F.A, 2).item() == pytest.approx(1.0)
    J = torch.autograd.functional.jacobian(lambda y: F(y).sum(0), X).movedim(1, 0)
    torch.testing.assert_close(F.jacobian(X), J)
    F.calls = 0
    F.jacobian(F(X))
    assert F.calls == 2


@pytest.mark.parametrize("theta", [0.3, 0.5, 1.0])
def test_a_solution_is_accepted(theta, capsys):
    solves(layer(0.7, theta), F, X, 0.7, theta, what="the layer")
    assert "holds: the layer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("h", "theta", "said"),
    [
        (0.7, 0.0, "explicit step"),
        (0.7, 0.7, "changed places"),
        (0.7, 1.0, "backward Euler"),
        (-0.7, 0.3, "with -h"),
        (1.0, 0.3, "h is left out"),
        (0.9, 0.2, "in 6 of 6 samples"),
    ],
)
def test_a_solution_of_another_equation_is_named(h, theta, said):
    with pytest.raises(CheckFailed, match=said):
        solves(layer(h, theta), F, X, 0.7, 0.3, what="the layer")


def test_the_way_back():
    def step(F, x, h):
        return x + h * F(x)

    with pytest.raises(CheckFailed, match="explicit step back"):
        round_trip(step, lambda F, y, h: y - h * F(y), F, X, 0.5, what="there and back")
    with pytest.raises(CheckFailed, match="one more step forward"):
        round_trip(step, step, F, X, 0.5, what="there and back")
    round_trip(lambda F, x, h: x + h, lambda F, y, h: y - h, F, X, 0.5, what="a shift")


def newton(apart: bool, counted: bool = True):
    """Damped Newton steps for y = x + hF(y), the damping one number a sample or one for all of them."""

    def solve(F, x, h, theta):
        y = x
        for _ in range(40):
            r = x + h * F(y) - y
            size = r.norm(dim=-1, keepdim=True)
            if size.max() < 1e-10:
                break
            J = F.jacobian(y) if counted else (1 - torch.tanh(y @ F.A.T + F.b) ** 2).unsqueeze(-1) * F.A
            d = torch.linalg.solve(torch.eye(4, dtype=x.dtype) - h * J, r.unsqueeze(-1)).squeeze(-1)
            step = torch.ones_like(size)
            for _ in range(30):
                rises = ((x + h * F(y + step * d) - (y + step * d)).norm(dim=-1, keepdim=True) >= size) & (size > 1e-10)
                if not rises.any():
                    break
                step = torch.where(rises if apart else rises.any(), step / 2, step)
            y = y + step * d
        return y

    return solve


def test_samples_that_are_damped_together_are_found(capsys):
    hard, x = SkewTanh(4, 8.0), 3 * states(12, 4)
    for counted in (True, False):
        separate(newton(True, counted), hard, x, 1.0, 1.0, what="twelve samples")
        assert "every sample takes the path" in capsys.readouterr().out
    assert hard.seen is None
    with pytest.raises(CheckFailed, match=r"twelve samples: \d+ of 12 samples take another path in the batch"):
        separate(newton(False), hard, x, 1.0, 1.0, what="twelve samples")
    with pytest.raises(CheckFailed, match="evaluates neither"):
        separate(lambda F, x, h, theta: x, hard, x, 1.0, 1.0, what="twelve samples")
