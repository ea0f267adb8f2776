"""NeuralODE and MLPField: the same flow by every solver, times, evaluations, tolerances, batched seeds, errors."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torchdiffeq import odeint

from course_lib.integrators import METHODS, SolveError, solve
from course_lib.neural_ode import NFE, MLPField, NeuralODE
from course_lib.train.seeds import fit_seeds

F64 = torch.float64
EVERY = [
    {"method": "rk4", "steps": 20}, {"method": "rk4", "steps": 20, "gradient": "discrete"},
    {"method": "rk4", "steps": 20, "gradient": "adjoint"}, {}, {"gradient": "adjoint"},
    {"gradient": "adjoint", "seminorm": True}, {"solver": "torchdiffeq"},
    {"solver": "torchdiffeq", "gradient": "adjoint"},
    {"solver": "torchdiffeq", "gradient": "adjoint", "seminorm": True},
    {"solver": "torchdiffeq", "method": "rk4", "steps": 20},
    {"solver": "torchdiffeq", "method": "rk4", "steps": 20, "gradient": "adjoint"},
]
names = [" ".join(str(v) for v in kw.values()) or "plain" for kw in EVERY]


def field(**changes):
    return MLPField(**{"dim": 2, "hidden": 8, "depth": 1, "time": True, "seed": 0, "dtype": F64} | changes)


def state(*shape):
    return torch.randn(shape or (5, 2), dtype=F64, generator=torch.Generator().manual_seed(3))


def tight(options):
    return NeuralODE(field(), rtol=1e-9, atol=1e-9, **options)


@pytest.mark.parametrize("options", EVERY, ids=names)
def test_every_solver_gives_the_same_flow_at_even_and_uneven_times(options):
    node, x0, t = tight(options), state(), [0.0, 0.05, 0.6, 1.0]
    with torch.no_grad():
        exact = odeint(node.field, x0, torch.tensor(t, dtype=F64), rtol=1e-11, atol=1e-12)
    assert torch.allclose(node(x0), exact[-1], rtol=0, atol=1e-6)
    path = node(x0, t)
    assert path.shape == (4, 5, 2) and torch.equal(path[0], x0)
    assert torch.allclose(path, exact, rtol=0, atol=1e-6)
    assert torch.allclose(node(path[-1], t[::-1])[-1], x0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", EVERY, ids=names)
def test_every_gradient_is_close_to_the_continuous_one(options):
    t, weights = [0.0, 0.3, 1.0], state(3, 5, 2)
    found = []
    for kw in ({"method": "rk4", "steps": 200}, options):
        node, x0 = tight(kw), state().requires_grad_()
        found.append(torch.autograd.grad((node(x0, t) * weights).sum(), (x0, *node.field.parameters())))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=3e-5)


@pytest.mark.parametrize("options", EVERY, ids=names)
def test_evaluations_are_counted_forward_and_backward_apart(options):
    class Counted(MLPField):
        calls = 0

        def forward(self, t, x):
            Counted.calls += 1
            return super().forward(t, x)

    Counted.calls = 0
    node = NeuralODE(Counted(2, 8, time=True, seed=0), rtol=1e-4, atol=1e-4, **options)
    x0 = state().float().requires_grad_()
    y = node(x0)
    forward = Counted.calls
    assert node.nfe == NFE(forward, 0) and forward > 0
    y.sum().backward()
    assert node.nfe == NFE(forward, Counted.calls - forward)
    assert (node.nfe.backward > 0) == (options.get("gradient") in ("adjoint", "discrete"))
    assert (node.nfe_forward, node.nfe_backward) == node.nfe
    node(x0)
    assert node.nfe == NFE(forward, 0)  # reset
    assert node.nfe_forward == 2 * forward  # but what the trainer reads only grows


def test_the_tolerances_and_steps_that_are_not_given():
    x0 = state()
    assert torch.equal(NeuralODE(field())(x0), NeuralODE(field(), rtol=1e-3, atol=1e-3)(x0))
    assert torch.equal(NeuralODE(field(), method="rk4")(x0), NeuralODE(field(), method="rk4", steps=10)(x0))


def test_fixed_steps_cost_their_stages():
    for name, rule in METHODS.items():
        node = NeuralODE(field(), method=name, steps=6)
        node(state(), [0.0, 0.5, 1.0])
        assert node.nfe.forward == 2 * 6 * rule.stages


def test_the_layer_is_solve_with_the_same_method():
    node, x0 = NeuralODE(field(), t=(0.0, 2.0), method="heun", steps=7), state()
    assert torch.equal(node(x0), solve(node.field, x0, [0.0, 2.0], method="heun", steps=7)[-1])


@pytest.mark.parametrize("solver", ["own", "torchdiffeq"])
def test_torchdiffeq_takes_the_same_grid(solver):
    node = NeuralODE(field(), method="euler", steps=3, solver=solver)
    x0, t = state(), [0.0, 0.2, 1.0]
    assert torch.allclose(node(x0, t), solve(node.field, x0, t, method="euler", steps=3), rtol=0, atol=1e-14)


@pytest.mark.parametrize("solver", ["own", "torchdiffeq"])
@pytest.mark.parametrize("which", ["rtol", "atol"])
def test_evaluation_may_have_other_tolerances_than_training(solver, which):
    # With the other tolerance zero this one alone counts.
    tolerances = {"rtol": 0.0, "atol": 0.0, which: 1e-2, f"eval_{which}": 1e-8}
    node = NeuralODE(field(), solver=solver, **tolerances)
    node(state())
    training = node.nfe.forward
    node.eval()
    node(state())
    assert node.nfe.forward > training
    node.train()
    node(state())
    assert node.nfe.forward == training


@pytest.mark.parametrize("time", [False, True])
def test_fields_of_several_seeds_stacked_run_as_one(time):
    nodes = [NeuralODE(field(seed=s, time=time), method="rk4", steps=4) for s in range(3)]
    params, buffers = stack_module_state(nodes)
    base = copy.deepcopy(nodes[0])
    x0 = state()
    run = lambda p, b, x: functional_call(base, (p, b), (x,))  # noqa: E731
    alone = torch.stack([node(x0) for node in nodes])
    assert torch.allclose(vmap(run, in_dims=(0, 0, None))(params, buffers, x0), alone, rtol=0, atol=1e-13)
    own = torch.stack([x0, 2 * x0, -x0])
    alone = torch.stack([node(x) for node, x in zip(nodes, own, strict=True)])
    assert torch.allclose(vmap(run)(params, buffers, own), alone, rtol=0, atol=1e-13)


@pytest.mark.parametrize("trace", [False, True])
def test_trains_over_seeds_as_one_batch(trace):
    make = lambda seed: NeuralODE(field(seed=seed), method="rk4", steps=3)  # noqa: E731
    x = state(16, 2)
    y = torch.stack([-x[:, 1], x[:, 0]], dim=1)
    history = fit_seeds(make, (x, y), seeds=range(3), epochs=60, lr=3e-2, trace=trace).history
    assert (history.loss[:, -1] < 0.2 * history.loss[:, 0]).all()


def test_mlp_field_is_the_net_it_says():
    f = MLPField(2, 50, depth=1, seed=1)
    assert sum(p.numel() for p in f.parameters()) == 252  # 2-50-2
    x = torch.randn(4, 2)
    by_hand = torch.tanh(x @ f.layers[0].weight.T + f.layers[0].bias) @ f.layers[1].weight.T + f.layers[1].bias
    assert torch.allclose(f(0.0, x), by_hand, atol=1e-6) and torch.equal(f(0.0, x), f(7.0, x))
    again, other = MLPField(2, 50, depth=1, seed=1), MLPField(2, 50, depth=1, seed=2)
    assert torch.equal(f(0.0, x), again(0.0, x)) and not torch.equal(f(0.0, x), other(0.0, x))
    assert sum(isinstance(m, nn.Linear) for m in MLPField(2, 8, depth=3).modules()) == 4
    g = MLPField(2, 8, time=True, seed=0)
    assert torch.equal(g(0.5, x), g(torch.tensor(0.5), x)) and not torch.equal(g(0.5, x), g(0.6, x))
    with pytest.raises(ValueError, match=r"^x: expected shape \(\.\.\., 2\)"):
        g(0.0, torch.ones(4, 3))


@pytest.mark.parametrize("name", ["tanh", "softplus", "elu", "silu", "sigmoid", "relu"])
def test_activations_are_what_they_are_called(name):
    f, x = MLPField(2, 4, depth=1, activation=name, seed=0), state().float()
    inside = f.layers[0](x)
    expected = getattr(torch, name)(inside) if hasattr(torch, name) else getattr(nn.functional, name)(inside)
    assert torch.allclose(f(0.0, x), f.layers[1](expected), atol=1e-6)


def test_fields_refuse_no_layer_and_an_unknown_activation():
    with pytest.raises(ValueError, match="depth: expected at least one hidden layer"):
        MLPField(2, 8, depth=0)
    with pytest.raises(ValueError, match="activation: 'gelu' is unknown; choose one of tanh"):
        MLPField(2, 8, activation="gelu")


def test_a_seed_leaves_the_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    MLPField(2, 8, seed=5)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("options", [{"method": "rk4"}, {}, {"solver": "torchdiffeq"}, {"gradient": "adjoint"}])
@pytest.mark.parametrize("x0, said", [([1.0], "expected a torch tensor, got list"), (torch.tensor([1]), "torch.int64")])
def test_a_state_that_cannot_be_stepped_is_one_line(options, x0, said):
    with pytest.raises(TypeError, match=f"^x0: .*{said}"):
        NeuralODE(MLPField(1, 4, seed=0), **options)(x0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": "adjiont"}, "gradient: 'adjiont' is unknown; choose one of direct, adjoint, discrete"),
        ({"solver": "scipy"}, "solver: 'scipy' is unknown"),
        ({"method": "rk5"}, "method: 'rk5' is unknown. Did you mean 'rk4'"),
        ({"gradient": "discrete"}, 'gradient: "discrete" needs solver="own" and a fixed-step method'),
        ({"method": "rk4", "gradient": "discrete", "solver": "torchdiffeq"}, 'gradient: "discrete" needs solver="own"'),
        ({"method": "trapezoid", "gradient": "adjoint"}, "method: 'trapezoid' cannot solve the adjoint equation"),
        ({"method": "rk4", "steps": 0}, "steps: expected a whole number"),
        ({"t": (1.0,)}, "t: expected a 1-D tensor of at least two times"),
        ({"t": (0.0, 0.0)}, "t: not strictly monotone"),
    ],
)
def test_bad_options_are_one_line(options, message):
    with pytest.raises(ValueError) as caught:
        NeuralODE(field(), **options)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("solver", ["own", "torchdiffeq"])
def test_a_blow_up_is_a_solve_error(solver):
    class Square(nn.Module):
        def forward(self, t, x):
            return x**2

    with pytest.raises(SolveError, match=r"no solution up to t = 2: .*underflow in dt"):
        NeuralODE(Square(), t=(0.0, 2.0), solver=solver)(torch.ones(3, dtype=F64))
    for gradient in ("direct", "adjoint"):
        with pytest.raises(SolveError, match=r"no solution up to t = 9: .*(ran out|max_num_steps)"):
            node = NeuralODE(field(), solver=solver, rtol=1e-9, atol=1e-9, max_steps=3, gradient=gradient)
            node(state(), [0.0, 9.0])
