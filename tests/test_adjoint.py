"""The adjoints: gradcheck, the unrolled steps, finite differences, evaluations and memory, errors in one line."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torchdiffeq import odeint_adjoint

from course_lib.integrators import METHODS, SolveError, dopri5, solve
from course_lib.memory import peak_bytes, saved_bytes
from course_lib.neural_ode import MLPField, NeuralODE, adjoint, discrete_adjoint
from course_lib.neural_ode.adjoint import parts_norm

F64 = {"dtype": torch.float64}
TIMES = [0.0, 0.2, 0.9, 1.0]


def field(**changes):
    return MLPField(**{"dim": 2, "hidden": 6, "depth": 1, "time": True, "seed": 0, "dtype": torch.float64} | changes)


def state(*shape):
    return torch.randn(shape or (3, 2), generator=torch.Generator().manual_seed(3), **F64)


def gradients(path, f, x0, weights=None):
    weights = state(*path.shape) if weights is None else weights
    return torch.autograd.grad((path * weights).sum(), (x0, *f.parameters()))


@pytest.mark.parametrize("checkpoints", [None, 1, 3, 1000, "log"])
@pytest.mark.parametrize("method", [*METHODS, "trapezoid"])
def test_discrete_adjoint_is_autograd_through_the_unrolled_steps(method, checkpoints):
    f, x0 = field(), state().requires_grad_()
    there = solve(f, x0, TIMES, method=method, steps=7)
    path = discrete_adjoint(f, x0, TIMES, method=method, steps=7, checkpoints=checkpoints)
    assert torch.allclose(path, there, rtol=0, atol=1e-14)
    for a, b in zip(gradients(path, f, x0), gradients(there, f, x0), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [7, 50])
def test_steps_linearised_at_once_give_the_same_gradient(method, steps):
    f, x0 = field(), state().requires_grad_()
    there = solve(f, x0, TIMES, method=method, steps=steps)
    path = discrete_adjoint(f, x0, TIMES, method=method, steps=steps, checkpoints="all")
    for a, b in zip(gradients(path, f, x0), gradients(there, f, x0), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match=r'^checkpoints: "all" needs an explicit method'):
        discrete_adjoint(f, x0, TIMES, method="trapezoid", checkpoints="all")


@pytest.mark.parametrize("checkpoints", [None, "log", "all"])
def test_discrete_adjoint_passes_gradcheck(checkpoints):
    A, x0 = state(2, 2).requires_grad_(), state().requires_grad_()

    def run(x0, A):
        f = lambda t, x: torch.tanh(x @ A) + torch.sin(t)  # noqa: E731
        return discrete_adjoint(f, x0, TIMES, steps=3, params=(A,), checkpoints=checkpoints)

    assert torch.autograd.gradcheck(run, (x0, A), eps=1e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"seminorm": True}, {"method": "rk4", "steps": 25}])
def test_continuous_adjoint_passes_gradcheck_at_a_tight_tolerance(options):
    A, x0 = state(2, 2).requires_grad_(), state().requires_grad_()

    def run(x0, A):
        f = lambda t, x: torch.tanh(x @ A) + torch.sin(t)  # noqa: E731
        return adjoint(f, x0, [0.0, 0.4, 1.0], params=(A,), rtol=1e-10, atol=1e-10, **options)

    assert torch.autograd.gradcheck(run, (x0, A), eps=1e-4, atol=1e-6, rtol=1e-5)


def test_continuous_adjoint_of_a_linear_field_is_the_closed_form():
    rate, x0 = torch.tensor(0.7, **F64).requires_grad_(), torch.tensor([1.0, -2.0], **F64).requires_grad_()
    x = adjoint(lambda t, x: -rate * x, x0, [0.0, 2.0], params=(rate,), rtol=1e-10, atol=1e-10)[-1]
    by_x0, by_rate = torch.autograd.grad(x.sum(), (x0, rate))
    assert torch.allclose(by_x0, torch.full((2,), math.exp(-1.4), **F64), rtol=0, atol=1e-9)
    assert by_rate.item() == pytest.approx(-2.0 * x.sum().item(), abs=1e-8)


@pytest.mark.parametrize("tol", [1e-4, 1e-8])
def test_continuous_adjoint_agrees_with_torchdiffeqs(tol):
    f, x0, t = field(), state().requires_grad_(), torch.tensor(TIMES, **F64)
    ours = gradients(adjoint(f, x0, t, rtol=tol, atol=tol), f, x0)
    theirs = gradients(odeint_adjoint(f, x0, t, rtol=tol, atol=tol, method="dopri5"), f, x0)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=30 * tol)


def test_continuous_adjoint_nears_the_discrete_one_as_steps_shrink():
    f, x0, gaps = field(), state().requires_grad_(), []
    for steps in (4, 8, 16):
        pair = [gradients(run(f, x0, [0.0, 1.0], method="euler", steps=steps), f, x0) for run in (adjoint, solve)]
        gaps.append(max((a - b).abs().max().item() for a, b in zip(*pair, strict=True)))
    assert gaps[0] > 1e-3  # two different gradients
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.3) and gaps[1] / gaps[2] == pytest.approx(2, rel=0.3)


def test_adjoint_error_falls_with_the_tolerance():
    f, x0, t = field(), state().requires_grad_(), [0.0, 4.0, 10.0]
    exact = gradients(solve(f, x0, t, steps=400), f, x0)
    errors = []
    for tol in (1e-3, 1e-6, 1e-9):
        found = gradients(adjoint(f, x0, t, rtol=tol, atol=tol), f, x0)
        errors.append(max((a - b).abs().max().item() for a, b in zip(found, exact, strict=True)))
    assert errors[0] > 10 * errors[1] > 100 * errors[2] and errors[2] < 1e-6


@pytest.mark.parametrize("solver", ["own", "torchdiffeq"])
def test_seminorm_saves_evaluations_where_parameters_are_many(solver):
    f = MLPField(4, 64, time=True, seed=0).double()
    with torch.no_grad():
        f.layers[-1].weight *= 3
    spent = {}
    for seminorm in (False, True):
        node = NeuralODE(f, t=(0.0, 10.0), rtol=1e-6, atol=1e-6, gradient="adjoint", seminorm=seminorm, solver=solver)
        node(state(64, 4)).square().sum().backward()
        spent[seminorm] = node.nfe.backward
    assert spent[True] <= spent[False] - 6  # a step at least


def test_the_backward_errors_size_is_its_largest_parts():
    e = torch.tensor([1.0, 1.0, 3.0, 4.0, 5.0, 5.0, 5.0], **F64)  # of x, a and the parameters
    assert parts_norm(2, False)(e).item() == pytest.approx(5)
    assert parts_norm(2, True)(e).item() == pytest.approx(12.5**0.5)
    assert parts_norm(2, False)(e[:4]).item() == pytest.approx(12.5**0.5)


def test_tolerances_are_1e_6_unless_given():
    f, x0 = field(), state().requires_grad_()
    path, same = adjoint(f, x0, TIMES), adjoint(f, x0, TIMES, rtol=1e-6, atol=1e-6)
    assert torch.equal(path, same)
    assert all(torch.equal(a, b) for a, b in zip(gradients(path, f, x0), gradients(same, f, x0), strict=True))


@pytest.mark.parametrize("solver", [adjoint, discrete_adjoint])
def test_a_second_derivative_is_refused(solver):
    x0 = state().requires_grad_()
    (slope,) = torch.autograd.grad(solver(field(), x0, [0.0, 1.0])[-1].square().sum(), x0, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_the_backward_solve_goes_on_with_the_step_it_had():
    f, x0, spent = field(), state().requires_grad_(), []
    t = torch.linspace(0, 1, 21, **F64)  # closer than a step is long
    path = adjoint(f, x0, t, rtol=1e-5, atol=1e-5, backward=spent.append)
    gradients(path, f, x0)
    assert spent == 20 * [1 + 6]  # a slope at its start and one step in each part: none to find a first step


def test_evaluations_redone_are_counted():
    f, x0 = field(), state().requires_grad_()
    for checkpoints, low, high in ((None, 64, 64), (64, 64, 64), ("all", 64, 64), (4, 64, 64), ("log", 65, 64 * 4)):
        spent = {}
        path = discrete_adjoint(f, x0, [0.0, 1.0], method="heun", steps=64, checkpoints=checkpoints,
                                forward=lambda n: spent.update(forward=n),  # noqa: B023
                                backward=lambda n: spent.update(backward=n))  # noqa: B023
        torch.autograd.grad(path.sum(), x0, retain_graph=True)
        once = spent["backward"]
        gradients(path, f, x0)
        assert spent["backward"] == once  # of this backward pass alone
        assert spent["forward"] == 2 * 64 and 2 * low <= spent["backward"] <= 2 * high


def run(node, x0):
    return lambda: node(x0).sum().backward()


def test_memory_of_the_discrete_adjoint_grows_like_the_root_or_the_logarithm_of_depth():
    f, x0 = MLPField(8, 32, seed=0), torch.randn(16, 8)
    known = [x0, *f.parameters()]
    run(NeuralODE(f, method="euler"), x0)()  # gradients are there from now on
    known += [p.grad for p in f.parameters()]
    peaks = {}
    for kind, options in {"direct": {}, "root": {"gradient": "discrete"},
                          "log": {"gradient": "discrete", "checkpoints": "log"}}.items():
        peaks[kind] = [peak_bytes(run(NeuralODE(f, method="euler", steps=n, **options), x0), exclude=known)
                       for n in (64, 256)]
    growth = {kind: deep / shallow for kind, (shallow, deep) in peaks.items()}
    assert growth["direct"] > 3.5 and 1.4 < growth["root"] < 2.6 and growth["log"] < 1.2
    assert peaks["root"][1] < peaks["direct"][1] / 10 and peaks["log"][1] < peaks["direct"][1] / 20


def test_memory_of_the_continuous_adjoint_does_not_grow_with_steps():
    f, x0 = MLPField(8, 32, seed=0), torch.randn(16, 8)
    kept = {tol: {kind: saved_bytes(lambda: NeuralODE(f, t=(0.0, 9.0), rtol=tol, atol=tol, gradient=kind)(x0),  # noqa: B023
                                    exclude=[x0, *f.parameters()])
                  for kind in ("direct", "adjoint")} for tol in (1e-3, 1e-6)}
    assert kept[1e-6]["direct"] > 2 * kept[1e-3]["direct"]
    assert kept[1e-6]["adjoint"] == kept[1e-3]["adjoint"] <= 2 * x0.nbytes


def test_what_f_does_not_use_gets_no_gradient_and_what_is_frozen_none():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Parameter(torch.tensor(0.5, **F64))
            self.unused = nn.Parameter(torch.ones(3, **F64))
            self.frozen = nn.Parameter(torch.ones(2, **F64), requires_grad=False)

        def forward(self, t, x):
            return -self.used * x * self.frozen

    for gradient in ("adjoint", "discrete"):
        f = Odd()
        NeuralODE(f, method="rk4", gradient=gradient)(state()).sum().backward()
        assert f.used.grad is not None and f.frozen.grad is None
        assert f.unused.grad is None or not f.unused.grad.any()


@pytest.mark.parametrize("solver", [adjoint, discrete_adjoint])
def test_a_constant_field_has_the_identity_as_its_derivative(solver):
    x0 = state().requires_grad_()
    x = solver(lambda t, x: torch.ones_like(x) * 2, x0, [0.0, 1.0], method="rk4", steps=4, params=())
    assert torch.allclose(x[-1], x0 + 2)
    assert torch.allclose(torch.autograd.grad(x[-1].sum(), x0)[0], torch.ones_like(x0))


def test_gradient_by_the_first_state_of_a_trajectory_counts():
    f, x0 = field(), state().requires_grad_()
    weights = torch.zeros(4, 3, 2, **F64)
    weights[0] = 1.0
    for path in (adjoint(f, x0, TIMES), discrete_adjoint(f, x0, TIMES, steps=3)):
        by_x0, *rest = gradients(path, f, x0, weights)
        assert torch.equal(by_x0, torch.ones_like(x0)) and not any(r.any() for r in rest)


def test_reconstruction_of_a_decaying_state_loses_what_the_decay_amplifies():
    x0 = torch.ones(1, **F64)
    lost = []
    for rate in (5.0, 15.0):
        f = lambda t, x: -rate * x  # noqa: B023, E731
        end = dopri5(f, x0, [0.0, 1.0], rtol=1e-8, atol=1e-8).x[-1]
        lost.append((dopri5(f, end, [1.0, 0.0], rtol=1e-8, atol=1e-8).x[-1] - x0).abs().item())
    assert lost[1] > 1e3 * lost[0]


@pytest.mark.parametrize("kind", ["adjoint", "discrete"])
def test_parameters_swapped_after_the_forward_pass_are_refused(kind):
    node, x0 = NeuralODE(field(), method="rk4", gradient=kind), state()
    other = {name: p.detach().clone().requires_grad_() for name, p in node.named_parameters()}
    y = functional_call(node, other, (x0,))
    with pytest.raises(RuntimeError, match=r'f: its parameters are not those of the forward pass.*gradient="direct"'):
        y.sum().backward()


@pytest.mark.parametrize("solver", [adjoint, discrete_adjoint])
def test_errors_are_one_line(solver):
    f, x0 = field(), state()
    for change, kind, message in (
        ({"f": lambda t, x: x}, ValueError, "params: f is not a module"),
        ({"t": torch.tensor([0.0, 1.0], requires_grad=True)}, ValueError, "t: needs a gradient"),
        ({"t": [1.0, 1.0]}, ValueError, "t: not strictly monotone"),
        ({"method": "rk5"}, ValueError, "method: 'rk5' is unknown"),
        ({"x0": torch.tensor([[math.nan, 1.0]])}, ValueError, "x0: has NaN"),
        ({"steps": 0, "method": "rk4"}, ValueError, "steps: expected a whole number"),
        ({"f": lambda t, x: torch.ones(3, 1, **F64), "x0": torch.ones(3, **F64), "params": ()}, ValueError, "f: "),
    ):
        with pytest.raises(kind) as caught:
            solver(**{"f": f, "x0": x0, "t": [0.0, 1.0]} | change)
        assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    for method in ("trapezoid", "verlet"):
        with pytest.raises(ValueError, match=rf"^method: '{method}' cannot solve the adjoint equation"):
            adjoint(f, x0, [0.0, 1.0], method=method)
    for count in (0, True, "root"):
        with pytest.raises(ValueError, match=r"^checkpoints: expected"):
            discrete_adjoint(f, x0, [0.0, 1.0], checkpoints=count)


def test_a_backward_solve_that_fails_says_so():
    x0 = torch.ones(1, **F64).requires_grad_()  # backward in time, x' = x² - x·1e3 grows without bound
    x = adjoint(lambda t, x: -1e3 * x, x0, [0.0, 1.0], params=(), rtol=1e-6, atol=1e-9, max_steps=400)
    with pytest.raises(SolveError, match="no solution up to t = 0"):
        (x[-1] * 1e3).sum().backward()
    with pytest.raises(SolveError, match="the 3 steps ran out"):
        adjoint(field(), state(), [0.0, 9.0], rtol=1e-9, atol=1e-9, max_steps=3)
