"""Reversible backpropagation against autograd through the same steps; what it keeps; what it says when it drifts."""

import pytest
import torch

from course_lib.hamiltonian import HamiltonianConv2d, HamiltonianDense, ReconstructionError
from course_lib.hamiltonian.shears import schedule
from course_lib.memory import saved_bytes

REVERSIBLE = ("symplectic_euler", "verlet", "leapfrog")


def layer(kind, *, reversible, dtype, **options):
    generator = torch.Generator().manual_seed(0)
    options = {"steps": 100, "h": 0.1, "reversible": reversible, "generator": generator, **options}
    made = HamiltonianDense(32, **options) if kind == "dense" else HamiltonianConv2d(16, **options)
    return made.to(dtype)


def batch(kind, dtype, seed=1):
    shape = (8, 32) if kind == "dense" else (2, 16, 8, 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gradients(net, x):
    x = x.clone().requires_grad_()
    (net(x) ** 2).sum().backward()
    return [x.grad, *(p.grad for p in net.parameters())]


def worst(kind, dtype, **options):
    """Largest relative error of a gradient of the reversible layer against autograd's."""
    x = batch(kind, dtype)
    ours, theirs = (gradients(layer(kind, reversible=r, dtype=dtype, **options), x) for r in (True, False))
    return max(float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("kind", ["dense", "conv"])
@pytest.mark.parametrize("method", REVERSIBLE)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_gradients_at_depth_100(kind, method, activation, dtype, bound):
    assert worst(kind, dtype, method=method, activation=activation) < bound


@pytest.mark.parametrize("method", REVERSIBLE)
def test_gradients_with_unshared_weights(method):
    assert worst("conv", torch.float64, method=method, shared=False, steps=10) < 1e-12


def test_gradients_at_depth_1000_in_float64():
    assert worst("dense", torch.float64, steps=1000, activation="tanh") < 1e-8
    assert worst("conv", torch.float64, steps=1000, activation="tanh") < 1e-8


def test_gradients_are_those_of_finite_differences():
    net = HamiltonianDense(4, steps=5, h=0.3, reversible=True, generator=torch.Generator().manual_seed(0)).double()
    names = [name for name, _ in net.named_parameters()]

    def run(x, *weights):
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,))

    x = batch("dense", torch.float64)[:3, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(run, (x, *net.parameters()))


def kept_bytes(net, x):
    return saved_bytes(lambda: net(x))


def test_bytes_kept_for_the_backward_do_not_grow_with_depth():
    x = batch("conv", torch.float32)
    ours = [kept_bytes(layer("conv", reversible=True, dtype=torch.float32, steps=n), x) for n in (8, 256)]
    plain = [kept_bytes(layer("conv", reversible=False, dtype=torch.float32, steps=n), x) for n in (8, 256)]
    assert ours[0] == ours[1] < 2 * x.nbytes + 10_000
    assert plain[1] > 20 * plain[0]


def test_a_check_that_passes_changes_nothing_but_the_memory():
    x = batch("conv", torch.float64)
    checked = gradients(layer("conv", reversible=True, dtype=torch.float64, check_every=20), x)
    plain = gradients(layer("conv", reversible=False, dtype=torch.float64), x)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(checked, plain, strict=True))
    options = {"reversible": True, "dtype": torch.float64, "method": "symplectic_euler"}
    kept = [kept_bytes(layer("conv", check_every=k, **options), x) for k in (None, 20)]
    assert kept[1] - kept[0] == 4 * x.nbytes  # after steps 20, 40, 60 and 80 of 100


def test_a_check_says_where_the_reconstruction_drifted():
    options = {"steps": 600, "h": 0.5, "dtype": torch.float32, "activation": "tanh"}
    silent = gradients(layer("dense", reversible=True, **options), batch("dense", torch.float32))
    true = gradients(layer("dense", reversible=False, **options), batch("dense", torch.float32))
    assert float((silent[0] - true[0]).norm() / true[0].norm()) > 1e-2
    with pytest.raises(ReconstructionError, match=r"reconstruction drifted by .* at update .* smaller check_every"):
        gradients(layer("dense", reversible=True, check_every=300, **options), batch("dense", torch.float32))
    # Where the check passes, the pass goes on from the state that was kept.
    checked = gradients(layer("dense", reversible=True, check_every=30, **options), batch("dense", torch.float32))
    assert float((checked[0] - true[0]).norm() / true[0].norm()) < 1e-3
    with pytest.raises(ReconstructionError, match=r"\(tolerance 1\.0e-07\)"):
        gradients(layer("dense", reversible=True, check_every=30, tolerance=1e-7, **options),
                  batch("dense", torch.float32))


def test_verlets_neighbouring_halves_are_one_update():
    for method, count in (("symplectic_euler", 2 * 8), ("verlet", 2 * 8 + 1), ("leapfrog", 2 * 8 + 1)):
        assert len(schedule(method, 8, shared=True)) == count


def test_a_second_derivative_is_refused():
    net, x = layer("dense", reversible=True, dtype=torch.float64, steps=2), batch("dense", torch.float64)
    (slope,) = torch.autograd.grad(net(x.requires_grad_()).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_autocast_runs_the_backward_in_the_same_precision():
    x = batch("conv", torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer("conv", reversible=True, dtype=torch.float32, steps=4)
        inside = gradients(out, x)
        plain = gradients(layer("conv", reversible=False, dtype=torch.float32, steps=4), x)
    assert all(a.dtype == torch.float32 for a in inside)
    assert all(float((a - b).norm() / b.norm()) < 0.02 for a, b in zip(inside, plain, strict=True))


def test_channels_last_gives_the_same_gradients():
    x = batch("conv", torch.float64)
    a = gradients(layer("conv", reversible=True, dtype=torch.float64, steps=4), x)
    last = layer("conv", reversible=True, dtype=torch.float64, steps=4).to(memory_format=torch.channels_last)
    b = gradients(last, x.to(memory_format=torch.channels_last))
    assert all(torch.allclose(p, q, atol=1e-12) for p, q in zip(a, b, strict=True))
