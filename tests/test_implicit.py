"""The θ-layer: values against a known solution, gradients against finite differences, and failures that speak."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn

from course_lib.implicit import (
    SOLVERS,
    BlowUpError,
    Convergence,
    ConvergenceError,
    ConvergenceWarning,
    ConvField,
    Equation,
    EquilibriumLayer,
    SkewField,
    ThetaLayer,
    choose,
    find_root,
    jacobian_penalty,
    lipschitz,
)
from course_lib.implicit.linear import gcr, neumann
from course_lib.integrators import euler
from course_lib.train import fit, fit_seeds

REAL = torch.float64
THETAS = (0.0, 0.25, 0.5, 1.0)


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=REAL, generator=torch.Generator().manual_seed(seed))


def skew(width: int = 3, size: float | None = None, **options) -> SkewField:
    """A skew field; with ``size``, its matrix has that spectral norm."""
    F = SkewField(width, generator=torch.Generator().manual_seed(0), dtype=REAL, **options)
    with torch.no_grad():
        F.b.copy_(draw(*F.b.shape, seed=2))
        if size is not None:
            F.K.mul_(size / torch.linalg.matrix_norm(F.matrix(), 2))
    return F


def field(kind: str) -> tuple[nn.Module, torch.Tensor]:
    """A field and states for it: with a Jacobian by hand, without one, and convolutional."""
    if kind == "skew":
        return skew(), draw(2, 3)
    if kind == "dense":
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double(), draw(2, 3)
    return ConvField(2, generator=torch.Generator().manual_seed(0), dtype=REAL), draw(2, 2, 3, 3)


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("solver", [*SOLVERS, "auto"])
@pytest.mark.parametrize("kind", ["skew", "dense", "conv"])
def test_gradients_agree_with_finite_differences(kind, solver, theta):
    F, x = field(kind)
    layer = ThetaLayer(F, h=0.3, theta=theta, solver=solver, tol=1e-11, max_iter=5000)
    inputs = (x.requires_grad_(), *layer.parameters())
    # A random direction through the Jacobian instead of every column, where there are many.
    assert torch.autograd.gradcheck(lambda x, *parameters: layer(x), inputs, fast_mode=kind == "conv")


@pytest.mark.parametrize("backward", ["dense", "neumann", "gcr"])
def test_every_backward_solver_gives_the_same_gradient(backward):
    F, x = skew(5, 1.0), draw(4, 5)
    layer = ThetaLayer(F, theta=0.5, solver="newton", backward=backward, tol=1e-12)
    expected = ThetaLayer(F, theta=0.5, solver="newton", backward="dense", tol=1e-12)
    grads = [torch.autograd.grad(one(x).square().sum(), F.K)[0] for one in (layer, expected)]
    assert layer.backward_report.solver == backward
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


def test_a_learned_theta_gets_its_gradient():
    layer = ThetaLayer(skew(), h=0.5, theta=0.3, learn_theta=True, solver="newton", tol=1e-13).double()
    assert layer.theta.item() == pytest.approx(0.3)
    x = draw(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *parameters: layer(x), (x, *layer.parameters()))
    assert layer.raw_theta.grad is None and len(list(layer.parameters())) == 3


def test_theta_zero_is_the_residual_block_to_the_last_bit_and_solves_nothing():
    F, x = skew(), draw(6, 3)
    layer = ThetaLayer(F, h=0.7, theta=0.0)
    assert torch.equal(layer(x), euler(lambda t, y: F(y), 0.0, x, 0.7))
    assert layer.report is None


@pytest.mark.parametrize("theta", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("guess", ["x", "euler", "linearised"])
def test_a_linear_field_is_solved_like_a_linear_system(theta, solver, guess):
    F = skew(4, 0.8, activation="identity")
    x, A, b = draw(5, 4), F.matrix().detach(), F.b.detach()
    one = torch.eye(4, dtype=REAL)
    right = x @ (one + (1 - theta) * A).T + b
    expected = torch.linalg.solve(one - theta * A, right.T).T
    y = ThetaLayer(F, theta=theta, solver=solver, guess=guess, tol=1e-12, max_iter=3000)(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)


def test_solvers_start_where_they_are_told_to():
    F, x = skew(), draw(2, 3)
    for guess, expected in (("x", x), ("euler", x + 0.4 * F(x)), ("last", x)):
        layer = ThetaLayer(F, h=0.4, guess=guess, max_iter=0, on_failure="warn")
        with pytest.warns(ConvergenceWarning, match="after 0 iterations"):
            torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("solver", [*SOLVERS, "auto"])
def test_iterations_are_bounded_as_asked(solver):
    layer = ThetaLayer(skew(4, 6.0), solver=solver, max_iter=2, on_failure="warn")
    with pytest.warns(ConvergenceWarning):
        layer(draw(5, 4))
    assert layer.report.iterations == 2 and not layer.report.converged


def test_auto_makes_no_more_steps_than_asked_before_it_turns_to_newton():
    layer = ThetaLayer(skew(16, 0.5), max_iter=4)
    layer(draw(5, 16))
    assert layer.report.converged and layer.report.solver == "newton" and layer.report.iterations <= 4


@pytest.mark.parametrize("solver", [*SOLVERS, "auto"])
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float32, 2e-6), (torch.float64, 1e-10)])
def test_the_residual_is_the_equations_over_one_and_the_states_norm(solver, dtype, tol):
    F, c = skew(4, 0.6).to(dtype), draw(5, 4).to(dtype) * torch.tensor([1e-3, 1.0, 1.0, 1.0, 10.0]).to(dtype)[:, None]
    a = torch.tensor(0.5, dtype=dtype)
    assert find_root(Equation(F, c, a), c, solver=solver)[1].tol == tol  # unless given
    y, report = find_root(Equation(F, c, a), c, solver=solver, tol=1e-2)
    left = (c + a * F(y) - y).norm(dim=1)
    torch.testing.assert_close(report.residuals, left / (1 + y.norm(dim=1)), rtol=1e-3, atol=1e-7)
    assert report.residual == report.residuals.max() <= 1e-2


def test_anderson_is_faster_than_the_iteration_it_mixes():
    F, x = skew(4, 1.8, activation="identity"), draw(5, 4)
    took = {}
    for solver in ("fixed_point", "anderson"):
        layer = ThetaLayer(F, solver=solver, tol=1e-10, max_iter=500)
        layer(x)
        took[solver] = layer.report.iterations
    assert took["anderson"] <= 12 < 150 < took["fixed_point"]  # four dimensions are used up by four differences


def test_gradient_descent_takes_the_rate_given():
    F, x = skew(4, 0.8), draw(5, 4)
    equation = Equation(F, x, torch.tensor(0.5, dtype=REAL))
    y, k, _ = SOLVERS["gradient_descent"](equation, x, tol=1e-12, max_iter=1, rate=1e-5)
    half = torch.func.grad(lambda y: (y - x - 0.5 * F(y)).square().sum() / 2)
    torch.testing.assert_close(y, x - 1e-5 * half(x), rtol=0, atol=1e-14)
    assert k == 1
    Lip = lipschitz(equation, x)
    y, _, _ = SOLVERS["gradient_descent"](equation, x, tol=1e-12, max_iter=1)
    torch.testing.assert_close(y, x - half(x) / (1 + Lip) ** 2)


def test_the_linearised_guess_is_exact_for_a_linear_field():
    layer = ThetaLayer(skew(4, activation="identity"), solver="fixed_point", guess="linearised", tol=1e-10)
    layer(draw(5, 4))
    assert layer.report.iterations == 0


def test_no_graph_runs_through_the_solver():
    """However many iterations, the graph of the result has the same nodes."""

    def nodes(solver: str, max_iter: int) -> int:
        layer = ThetaLayer(skew(), h=0.2, solver=solver, tol=10.0**-max_iter, max_iter=500)
        seen, stack = set(), [layer(draw(2, 3)).grad_fn]
        while stack:
            node = stack.pop()
            if node is not None and node not in seen:
                seen.add(node)
                stack += [n for n, _ in node.next_functions]
        return len(seen)

    assert nodes("fixed_point", 2) == nodes("fixed_point", 12) == nodes("newton", 12)


@pytest.mark.parametrize("size", [2.0, 8.0, 40.0])
@pytest.mark.parametrize("width", [2, 5, 16])
def test_damped_newton_solves_every_stiff_skew_sample(width, size):
    """The equation has one solution whatever h (the Jacobian is nowhere singular); the damped iteration finds it."""
    layer = ThetaLayer(skew(width, size), theta=0.5, solver="newton")
    layer(draw(256, width))
    assert layer.report.converged and layer.report.residuals.shape == (256,)


def test_undamped_newton_cycles_for_some_samples():
    F, x = skew(2, 8.0), draw(256, 2) * 3
    equation = Equation(F, x + 0.5 * F(x), torch.tensor(0.5, dtype=REAL), jacobian=F.jacobian)
    _, _, free = SOLVERS["newton"](equation, x, tol=1e-10, max_iter=60, damped=False)
    _, _, damped = SOLVERS["newton"](equation, x, tol=1e-10, max_iter=60)
    assert (free > 1e-3).any() and (damped <= 1e-10).all()


def test_a_fixed_point_that_does_not_converge_raises_and_says_why():
    layer = ThetaLayer(skew(5, 4.0), theta=0.5, solver="fixed_point")
    with pytest.raises(ConvergenceError, match=r"fixed_point did not converge for \d+ of 32 .*Lipschitz constant") as e:
        layer(draw(32, 5))
    report = e.value.report
    assert report.residual > report.tol and 1 < report.lipschitz < 2.001
    assert 0 < len(report.failed) <= 32 and report.iterations == 200


def test_asked_to_warn_it_warns_and_returns_the_state_as_it_stands():
    layer = ThetaLayer(skew(5, 4.0), theta=0.5, solver="fixed_point", on_failure="warn")
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        y = layer(draw(32, 5))
    assert torch.isfinite(y).all() and not layer.report.converged


def test_a_neumann_series_that_diverges_raises_in_the_backward_pass():
    layer = ThetaLayer(skew(5, 8.0, activation="identity"), theta=0.5, solver="newton", backward="neumann")
    y = layer(draw(4, 5))
    with pytest.raises(ConvergenceError, match="neumann"):
        y.sum().backward()


def test_a_singular_system_in_the_backward_pass_is_said():
    class Same(nn.Module):  # y = x + y: solved by any y at x = 0
        def forward(self, y):
            return 1.0 * y

    x = torch.zeros(2, 3, dtype=REAL, requires_grad=True)
    y = ThetaLayer(Same(), theta=1.0, solver="newton", backward="dense")(x)
    with pytest.raises(ConvergenceError, match=r"dense did not converge for 2 of 2 .*gradient is unreliable"):
        y.sum().backward()


@pytest.mark.parametrize("backward", ["dense", "neumann", "gcr"])
def test_a_loss_that_ignores_a_sample_gives_it_no_gradient(backward):
    x = draw(3, 4).requires_grad_()
    y = ThetaLayer(skew(4, 0.5), backward=backward)(x)
    y[1:].sum().backward()
    assert not x.grad[0].any() and x.grad[1:].all() and torch.isfinite(x.grad).all()


def test_the_backward_solver_goes_with_the_forward_one():
    torch.manual_seed(0)
    free = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double()
    for solver, suited in (("fixed_point", "neumann"), ("anderson", "gcr"), ("newton", "dense"),
                           ("newton_krylov", "gcr"), ("gradient_descent", "gcr")):
        for F, expected in ((free, suited), (skew(4, 0.5), "dense"), (skew(12, 0.5), suited)):
            layer = ThetaLayer(F, h=0.3, solver=solver)
            layer(draw(2, F.width if hasattr(F, "width") else 4)).sum().backward()
            assert layer.backward_report.solver == expected  # a small Jacobian by hand is cheaper than products


def test_a_second_derivative_is_refused():
    x = draw(2, 3).requires_grad_()
    (slope,) = torch.autograd.grad(ThetaLayer(skew(), h=0.3)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_what_is_not_a_number_has_not_converged():
    report = Convergence("newton", 3, torch.tensor([1e-9, math.nan, 1e-3, 1e-9]), 1e-6)
    assert not report.converged and report.failed[:, 0].tolist() == [1, 2]
    assert str(report).startswith("newton did not converge for 2 of 4 samples")
    assert not Convergence("newton", 3, torch.tensor([math.nan]), 1e-6).converged


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_infinite_state_is_a_blow_up(solver):
    class Steep(nn.Module):
        def forward(self, y):
            return y * torch.tensor(math.inf, dtype=y.dtype)

    with pytest.raises(BlowUpError, match=f"{solver}: the state stopped being finite at iteration 0"):
        find_root(Equation(Steep(), torch.ones(2, 3), torch.tensor(1.0)), torch.ones(2, 3), solver=solver)


def test_a_state_that_blows_up_is_an_error_with_the_iteration():
    class Cube(nn.Module):
        def forward(self, y):
            return y**3 + 10

    layer = ThetaLayer(Cube(), theta=1.0, solver="fixed_point", on_failure="warn")
    with pytest.raises(BlowUpError, match=r"fixed_point: the state stopped being finite at iteration \d+"):
        layer(draw(4, 2))


def test_a_newton_solve_without_a_solution_says_so():
    class Above(nn.Module):  # y = x + y² + 2 has no real solution at x = 0
        def forward(self, y):
            return y**2 + 2

    with pytest.raises(ConvergenceError, match="newton did not converge for 3 of 3 samples"):
        ThetaLayer(Above(), theta=1.0, solver="newton")(torch.zeros(3, 1, dtype=REAL))


@pytest.mark.parametrize("width", [2, 5, 16, 160])
@pytest.mark.parametrize("size", [0.5, 2.0, 6.0])
def test_auto_converges_whatever_the_size(width, size):
    layer = ThetaLayer(skew(width, size), theta=0.5)
    layer(draw(16, width)).sum().backward()
    assert layer.report.converged and layer.backward_report.converged
    if size == 0.5 and width >= 16:
        assert layer.report.solver == "fixed_point"
    if size == 6.0:
        assert layer.report.solver == ("newton" if width <= 128 else "newton_krylov")


def test_the_rule_of_thumb():
    assert choose(2, 0.01, 1.0, tol=1e-6) == "fixed_point"
    assert choose(2, 0.8, 1.0, tol=1e-6) == "newton" and choose(64, 0.8, 1.0, tol=1e-6) == "fixed_point"
    assert choose(64, 1.2, 1.0, tol=1e-6) == "newton" and choose(500, 1.2, 1.0, tol=1e-6) == "newton_krylov"


def test_lipschitz_finds_the_norm_of_a_skew_matrix():
    F = skew(6, 3.0, activation="identity")
    equation = Equation(F, draw(2, 6), torch.tensor(0.5, dtype=REAL))
    assert lipschitz(equation, draw(2, 6), iterations=200) == pytest.approx(1.5, rel=1e-3)
    shrink = Equation(lambda y: y * torch.tensor([3.0, 0.5], dtype=REAL)[:, None], draw(2, 1),
                      torch.tensor(0.5, dtype=REAL))
    assert lipschitz(shrink, draw(2, 1)) == pytest.approx(1.5)  # the largest over the samples


def test_the_listing_drops_the_gradient_of_the_parameters():
    x = draw(8, 3).requires_grad_()
    F = skew()
    grads = {}
    for kind in ("exact", "listing", "phantom"):
        layer = ThetaLayer(F, h=0.5, theta=1.0, solver="newton", gradient=kind, tol=1e-12)
        loss = layer(x).square().sum()
        grads[kind] = torch.autograd.grad(loss, (x, F.K), allow_unused=True)
    assert grads["listing"][1] is None  # at θ = 1 the parameters do not even appear
    torch.testing.assert_close(grads["listing"][0], grads["exact"][0])
    assert (grads["phantom"][1] - grads["exact"][1]).norm() > 0.1 * grads["exact"][1].norm()
    y = ThetaLayer(F, h=0.5, theta=1.0, solver="newton", tol=1e-12)(x).detach()
    torch.testing.assert_close(grads["phantom"][0], 2 * y)  # as if y were x plus a constant


def test_seeds_train_together_as_they_do_alone():
    def net(seed):
        branch = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        layers = ThetaLayer(branch, h=0.5, learn_theta=True), ThetaLayer(SkewField(4), h=0.5, solver="newton")
        return nn.Sequential(nn.Linear(1, 4), *layers, nn.Linear(4, 1))

    x = torch.linspace(-1, 1, 16)[:, None]
    data = (x, torch.sin(3 * x))
    together = fit_seeds(net, data, "mse", seeds=range(3), epochs=20, lr=0.01).history.loss
    for seed in range(3):
        torch.manual_seed(seed)
        alone = fit(net(seed), data, "mse", seed=seed, epochs=20, lr=0.01, device="cpu", progress=False)
        assert together[seed] == pytest.approx(alone.loss, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"theta": 1.5}, "theta: expected a number from 0 to 1"),
        ({"h": math.inf}, "h: expected a finite number"),
        ({"solver": "newtn"}, "Did you mean 'newton'"),
        ({"guess": "y"}, "guess: 'y' is unknown"),
        ({"gradient": "none"}, "gradient: 'none'"),
        ({"on_failure": "ignore"}, "on_failure: 'ignore'"),
        ({"theta": math.nan}, "theta: expected a number from 0 to 1"),
        ({"theta": 1.0, "learn_theta": True}, "strictly between 0 and 1"),
        ({"theta": 0.0, "learn_theta": True}, "strictly between 0 and 1"),
    ],
)
def test_bad_arguments_are_named(options, said):
    with pytest.raises(ValueError, match=said):
        ThetaLayer(skew(), **options)


@pytest.mark.parametrize("make", [ThetaLayer, lambda F: ThetaLayer(F, theta=0.0), EquilibriumLayer])
@pytest.mark.parametrize("width", [4, 1])  # broadcasting would take the second
def test_a_field_that_changes_the_shape_is_named(make, width):
    F = nn.Sequential(nn.Linear(3, width), nn.Tanh()).double()
    with pytest.raises(ValueError, match=rf"F: made \(2, {width}\) from \(2, 3\)"):
        make(F)(draw(2, 3))


def test_no_iteration_is_none_and_is_said():
    for solver in ("auto", *SOLVERS):
        with pytest.raises(ConvergenceError, match="after 0 iterations"):
            ThetaLayer(skew(), solver=solver, max_iter=0)(draw(2, 3))


@pytest.mark.parametrize("solver", [*SOLVERS, "auto"])
def test_evaluations_are_counted(solver):
    """Calls of F, which a product by forward differentiation is too, and the products by reverse differentiation."""
    calls = 0

    def F(y):
        nonlocal calls
        calls += 1
        return 1.5 * torch.tanh(y.flip(-1))

    c = draw(4, 3)
    report = find_root(Equation(F, c, torch.tensor(0.5, dtype=REAL)), c, solver=solver, tol=1e-9)[1]
    products = {"newton": 3, "gradient_descent": 1}.get(report.solver, 0) * report.iterations
    assert report.evaluations == calls + products and report.iterations > 1


def test_linear_solvers_against_a_dense_solve():
    M, b = 0.3 * draw(6, 5, 5), draw(6, 5)
    expected = torch.linalg.solve(torch.eye(5, dtype=REAL) - M, b)

    def times(v):
        return (M @ v.unsqueeze(-1)).squeeze(-1)

    M = M / torch.linalg.matrix_norm(M, 2).max() * 0.8
    expected = torch.linalg.solve(torch.eye(5, dtype=REAL) - M, b)
    for u, _, error in (neumann(times, b, tol=1e-12, max_iter=300),
                        gcr(lambda v: v - times(v), b, tol=1e-12, max_iter=20)):
        torch.testing.assert_close(u, expected, rtol=1e-9, atol=1e-9)
        assert (error <= 1e-12).all()


def test_gcr_solves_an_indefinite_system_where_its_residual_stands_still():
    turn = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]], dtype=REAL)  # <r, Ar> = 0 for every r
    b = draw(1, 2)
    u, _, _ = gcr(lambda v: (turn @ v.unsqueeze(-1)).squeeze(-1), b, tol=1e-12, max_iter=10)
    torch.testing.assert_close((turn @ u.unsqueeze(-1)).squeeze(-1), b)


def test_an_equilibrium_layer_and_its_penalty():
    F = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).double()
    with pytest.warns(ConvergenceWarning, match="anderson did not converge"):
        EquilibriumLayer(F, max_iter=1, on_failure="warn")(draw(3, 4))
    layer = EquilibriumLayer(F, inject=nn.Linear(2, 4).double(), tol=1e-12)
    x = draw(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *parameters: layer(x), (x, *layer.parameters()))
    y = layer(x)
    torch.testing.assert_close(y, layer.inject(x) + F(y))
    g = torch.Generator().manual_seed(0)
    estimates = torch.stack([jacobian_penalty(F, y, generator=g).detach() for _ in range(4000)])
    J = torch.autograd.functional.jacobian(lambda v: F(v).sum(0), y).movedim(1, 0)
    assert estimates.mean().item() == pytest.approx((J.square().sum() / y.numel()).item(), rel=0.1)
    jacobian_penalty(F, y).backward()
    assert all(p.grad is not None for p in F.parameters())


def test_a_solve_that_converges_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_root(Equation(skew(), draw(2, 3), torch.tensor(0.1, dtype=REAL)), draw(2, 3))[1].converged


def test_the_last_solution_is_where_the_next_solve_starts():
    F, x = skew(4, 6.0), draw(8, 4)
    layer = ThetaLayer(F, solver="newton", guess="last")
    first = layer(x)
    assert layer.report.iterations > 0
    torch.testing.assert_close(layer(x), first)
    assert layer.report.iterations == 0
    layer(draw(5, 4))  # another shape starts from x
    assert layer.report.iterations > 0


@pytest.mark.parametrize("activation", ["tanh", "relu", "identity"])
@pytest.mark.parametrize("runs", [None, 3])
def test_the_closed_form_products_of_a_skew_field_are_autograds(activation, runs):
    F = SkewField(5, activation=activation, runs=runs, generator=torch.Generator().manual_seed(3), dtype=REAL)
    lead = () if runs is None else (runs,)
    y, v = torch.randn(2, *lead, 7, 5, generator=torch.Generator().manual_seed(4), dtype=REAL)
    y.requires_grad_()
    expected = torch.autograd.grad(F(y), y, v)[0]
    torch.testing.assert_close(F.vjp(y.detach())(v), expected)
    torch.testing.assert_close((F.jacobian(y).mT @ v.unsqueeze(-1)).squeeze(-1), expected)


def test_fields_start_as_they_say_and_are_skew():
    F = SkewField(60, generator=torch.Generator().manual_seed(0))
    assert 0.99 * math.sqrt(3 / 60) < F.K.abs().max() <= math.sqrt(3 / 60) and not F.b.any()
    for scale in (1.0, 0.1):
        C = ConvField(8, scale=scale, generator=torch.Generator().manual_seed(0), dtype=REAL)
        assert 0.99 * scale * math.sqrt(3 / 72) < C.K.abs().max() <= scale * math.sqrt(3 / 72)
    J = torch.func.jacrev(lambda y: C(y.view(1, 8, 4, 5)).flatten())(torch.zeros(160, dtype=REAL))
    assert torch.allclose(J, -J.T, atol=1e-14) and J.norm() > 0.1  # at 0, where tanh has slope 1


def test_newtons_steps_are_halved_as_often_as_a_steep_skew_field_asks():
    field = SkewField(5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        field.K *= 1024 / torch.linalg.matrix_norm(field.matrix(), 2)  # θhΛ = 512; twelve halvings do not suffice
    layer = ThetaLayer(field, solver="newton", max_iter=500)
    layer(torch.randn(64, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert layer.report.converged
