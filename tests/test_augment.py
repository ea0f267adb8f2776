"""Augment and ODENet: zeros appended and taken away; seeds together as each alone."""

import pytest
import torch
from torch import nn

from course_lib.data import annulus, flip
from course_lib.integrators import SolveError
from course_lib.neural_ode import MLPField, NeuralODE
from course_lib.neural_ode.augment import Augment
from course_lib.neural_ode.odenet import ODENet
from course_lib.train import fit_seeds


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def node(dim, *, seed=0, tol=1e-6, **options):
    field = MLPField(dim, 8, activation="tanh", time=True, seed=seed, dtype=torch.float64)
    return NeuralODE(field, rtol=tol, atol=tol, **options)


class Lifted(nn.Module):
    """x' = a, a' = -x, for every component of the plane: zeros turn into -x after a quarter of a turn."""

    def forward(self, t, x):
        return torch.cat((x[..., 2:], -x[..., :2]), -1)


def test_zeros_are_appended_and_the_first_components_given_back():
    x0 = draw(5, 2)
    quarter = NeuralODE(Lifted(), t=(0.0, torch.pi / 2), rtol=1e-9, atol=1e-9)
    assert torch.allclose(Augment(quarter, 2)(x0), torch.zeros_like(x0), atol=1e-7)
    kept = Augment(quarter, 2, keep=True)
    assert torch.allclose(kept(x0), torch.cat((torch.zeros_like(x0), -x0), -1), atol=1e-7)
    path = kept(x0, [0.0, torch.pi / 4, torch.pi / 2])
    assert path.shape == (3, 5, 4) and torch.equal(path[0], torch.cat((x0, torch.zeros_like(x0)), -1))
    assert Augment(quarter, 2)(x0, [0.0, 1.0]).shape == (2, 5, 2) and kept.nfe == quarter.nfe


def test_channels_are_an_axis_too():
    class Mix(nn.Module):
        def forward(self, t, x):
            return x.flip(1)

    x0 = draw(2, 3, 4, 4)
    flow = NeuralODE(Mix(), t=(0.0, 0.5), rtol=1e-9, atol=1e-9)
    kept = Augment(flow, 3, axis=1, keep=True)(x0)
    assert kept.shape == (2, 6, 4, 4)
    c, s = torch.tensor(0.5, dtype=torch.float64).cosh(), torch.tensor(0.5, dtype=torch.float64).sinh()
    assert torch.allclose(kept, torch.cat((c * x0, s * x0.flip(1)), 1), atol=1e-7)
    assert Augment(flow, 3, axis=1)(x0, [0.0, 0.5]).shape == (2, 2, 3, 4, 4)


def test_no_extra_dimension_changes_nothing():
    plain, x0 = node(2), draw(4, 2)
    assert torch.equal(Augment(plain, 0)(x0), plain(x0))


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="p: expected a whole number"):
        Augment(node(2), -1)
    with pytest.raises(ValueError, match="has no axis 1"):
        Augment(node(3), 1, axis=1)(draw(2))


def net(seed, p, keep, head):
    flow = node(2 + p, seed=seed)
    flow = Augment(flow, p, keep=keep) if p else flow
    torch.manual_seed(seed)
    return ODENet(flow, nn.Linear(2 + p * keep, 1, dtype=torch.float64) if head else None)


@pytest.mark.parametrize("p,keep,head", [(0, False, True), (2, True, True), (1, False, False)])
def test_nets_together_give_what_each_gives_alone(p, keep, head):
    nets = [net(seed, p, keep, head) for seed in range(3)]
    x = 2 * draw(3, 16, 2)
    params, buffers = torch.func.stack_module_state(nets)
    out, nfe = nets[0].together(params, buffers, x)
    out.square().sum().backward()
    for i, alone in enumerate(nets):
        y = alone(x[i])
        assert torch.allclose(out[i], y, rtol=0, atol=1e-10) and nfe[i] == alone.node.nfe.forward
        y.square().sum().backward()
        for name, weight in alone.named_parameters():
            assert torch.allclose(params[name].grad[i], weight.grad, rtol=1e-7, atol=1e-10), name


def test_nets_together_have_the_steps_that_were_allowed():
    nets = [ODENet(node(2, seed=seed, tol=1e-12, max_steps=2)) for seed in range(2)]
    params, buffers = torch.func.stack_module_state(nets)
    with pytest.raises(SolveError, match=r"problem 0: .* the 2 steps ran out"):
        nets[0].together(params, buffers, draw(2, 4, 2))


def test_what_vmap_can_map_is_left_to_it():
    assert ODENet(node(2, method="rk4", steps=2)).together is None
    assert ODENet(Augment(node(3), 1)).together is not None
    for options in ({"gradient": "adjoint"}, {"solver": "torchdiffeq"}):
        assert ODENet(node(2, **options)).together is None  # nor is the gradient or the solver changed


def test_nets_together_take_batches_of_any_size_and_evaluate_as_they_are_told_to():
    nets = [ODENet(node(2, seed=seed, tol=1e-2, eval_rtol=1e-9, eval_atol=1e-9)).eval() for seed in range(2)]
    params, buffers = torch.func.stack_module_state(nets)
    for batch in (5, 3):
        x = draw(2, batch, 2)
        out, nfe = nets[0].together(params, buffers, x)
        assert torch.allclose(out, torch.stack([net(x[i]) for i, net in enumerate(nets)]), rtol=0, atol=1e-12)
        assert nfe.tolist() == [net.node.nfe.forward for net in nets]


def test_seeds_train_together_as_alone_and_count_their_evaluations():
    def make(seed):
        return net(seed, 1, True, True)

    def data(seed):
        return annulus(20, 40, seed=seed, dtype=torch.float64)

    options = {"epochs": 3, "lr": 0.01, "batch_size": 30, "validation": data(9)}
    both = fit_seeds(make, data, "smooth_l1", seeds=(0, 1), **options)
    for i, seed in enumerate((0, 1)):
        alone = fit_seeds(make, data, "smooth_l1", seeds=(seed,), **options)
        assert both.history.loss[i] == pytest.approx(alone.history.loss[0], rel=1e-9)
        assert both.history.nfe_forward[i] == pytest.approx(alone.history.nfe_forward[0])
        assert both.history.metrics["val_loss"][i] == pytest.approx(alone.history.metrics["val_loss"][0], rel=1e-9)
    assert (both.history.nfe_forward >= 8).all() and both.history[1].nfe_forward == both.history.nfe_forward[1].tolist()
    again = nn.functional.smooth_l1_loss(both.models[1](data(9)[0]), data(9)[1]).item()
    assert both.history.metrics["val_loss"][1, -1] == pytest.approx(again, rel=1e-5)


def test_shared_data_and_a_fixed_step_method_train_too():
    def make(seed, **options):
        return ODENet(Augment(NeuralODE(MLPField(2, 8, seed=seed), **options), 1))

    for options in ({}, {"method": "rk4", "steps": 2}):
        fit = fit_seeds(lambda seed, o=options: make(seed, **o), flip(), "mse", seeds=(0, 1), epochs=60, lr=0.03)
        assert (fit.history.loss[:, -1] < 0.05).all()
        assert (fit.history.nfe_forward > 0).all() == (not options)


def test_a_penalty_is_refused_where_seeds_step_together():
    with pytest.raises(ValueError, match="penalty"):
        fit_seeds(lambda s: net(s, 1, True, True), annulus(4, 4, seed=0, dtype=torch.float64), seeds=(0,), epochs=1,
                  penalty=lambda m: 0.0)
