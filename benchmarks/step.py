"""One training step, forward and backward, by every library at hand: ``python benchmarks/step.py``.

The gradient of mean(x(T)²) by x(0) and the weights. Two fields: the spiral's 2-50-2 on x³ with one state, where a step
is all overhead, and 2-64-64-2 with 256 states, where the field is most of it. *Adaptive*: Dormand–Prince 5(4) at the
same tolerance. *Fixed*: RK4 in 60 steps. The weights stay as they are, so that everyone takes the same number of
evaluations in each round. JAX compiles the whole step before the clock runs. Floors: "the field alone" is evaluated and
backpropagated as often as our solver does, by autograd, and "C by hand" is RK4 and its adjoint written out
(floors/spiral_rk4.c). Every gradient is compared with ours in double precision at a tight tolerance.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ |= {"JAX_PLATFORMS": "cpu",
               "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}

import numpy as np
import torch
from common import about, keep, over, spread, turns
from torch import Tensor, nn

from course_lib.neural_ode import MLPField, NeuralODE

END, STEPS, TOL, WIDTH = 1.5, 60, 1e-5, 50
Gradient = Callable[[], list]


class Cubic(nn.Module):
    """The spiral's field: a 2-50-2 tanh net on x³; its last layer times ten, so that a solve takes many steps."""

    def __init__(self):
        super().__init__()
        self.net = MLPField(2, WIDTH, depth=1, seed=0)
        with torch.no_grad():
            self.net.layers[-1].weight *= 10

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.net(t, x**3)


def problems() -> dict[str, tuple[nn.Module, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    return {"spiral, 2-50-2 on x³, one state": (Cubic(), torch.tensor([[2.0, 0.0]])),
            "2-64-64-2, 256 states": (MLPField(2, 64, seed=0), torch.randn(256, 2, generator=draw))}


def taken(solve: Callable[[Tensor], Tensor], field: nn.Module, x0: Tensor) -> Gradient:
    weights = list(field.parameters())
    x0 = x0.clone().requires_grad_()
    return lambda: list(torch.autograd.grad(solve(x0).square().mean(), [x0, *weights]))


def by_torch(field: nn.Module, x0: Tensor, adaptive: bool) -> dict[str, Gradient]:
    """Ours and the peers in torch; t is passed as each of them does."""
    import torchdiffeq
    import torchode
    from torchdyn.numerics import odeint

    ends, grid = torch.tensor([0.0, END]), torch.linspace(0, END, STEPS + 1)
    kind = {"t": (0.0, END), **({"rtol": TOL, "atol": TOL} if adaptive else {"method": "rk4", "steps": STEPS})}
    theirs = {"rtol": TOL, "atol": TOL} if adaptive else {"method": "rk4", "options": {"step_size": END / STEPS}}
    solves = {"ours": NeuralODE(field, **kind),
              "torchdiffeq": lambda x: torchdiffeq.odeint(field, x, ends, **theirs)[-1]}
    if adaptive:
        solves["torchdiffeq, adjoint"] = lambda x: torchdiffeq.odeint_adjoint(field, x, ends, **theirs)[-1]
        solves["torchdyn"] = lambda x: odeint(field, x, ends, "dopri5", atol=TOL, rtol=TOL)[1][-1]
        term = torchode.ODETerm(field)
        control = torchode.IntegralController(TOL, TOL, term=term)
        # Through the control its gradient is NaN where a sample's error is zero; the others hold the sizes fixed too.
        solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term), control, backprop_through_step_size_control=False)

        def parallel(x: Tensor) -> Tensor:
            times = ends.expand(len(x), 2)
            return solver.solve(torchode.InitialValueProblem(x, times[:, 0], times[:, 1], t_eval=times)).ys[:, -1]

        solves["torchode"] = parallel
    else:
        solves["torchdyn"] = lambda x: odeint(field, x, grid, "rk4")[1][-1]
        if x0.numel() <= 2:
            solves["ours, discrete adjoint"] = NeuralODE(field, gradient="discrete", checkpoints="all", **kind)
    return {name: taken(solve, field, x0) for name, solve in solves.items()}


def field_alone(field: nn.Module, x0: Tensor, nfe: int) -> Gradient:
    """The floor: nfe evaluations and as many products with the transposed Jacobian, in one graph, and nothing else."""
    weights, t, x = list(field.parameters()), torch.tensor(0.0), x0.clone().requires_grad_()
    given = torch.ones_like(x0)
    return lambda: list(torch.autograd.grad([field(t, x) for _ in range(nfe)], [x, *weights], [given] * nfe))


def by_jax(field: nn.Module, x0: Tensor, adaptive: bool) -> dict[str, Gradient]:
    import diffrax
    import jax
    import jax.numpy as jnp

    cubed = isinstance(field, Cubic)
    weights, x = [jnp.asarray(p.detach().numpy()) for p in field.parameters()], jnp.asarray(x0.numpy())

    def f(t, x, weights):
        x = x**3 if cubed else x
        *hidden, V, c = weights
        for W, b in zip(hidden[::2], hidden[1::2], strict=True):
            x = jnp.tanh(x @ W.T + b)
        return x @ V.T + c

    def dopri5(x, weights):
        control = diffrax.PIDController(rtol=TOL, atol=TOL)
        return diffrax.diffeqsolve(diffrax.ODETerm(f), diffrax.Dopri5(), 0.0, END, None, x, args=weights,
                                   stepsize_controller=control, max_steps=256).ys[-1]

    def rk4(x, weights):
        h = END / STEPS

        def one(x, _):
            k1 = f(0.0, x, weights)
            k2 = f(0.0, x + h / 2 * k1, weights)
            k3 = f(0.0, x + h / 2 * k2, weights)
            return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(0.0, x + h * k3, weights)), None

        return jax.lax.scan(one, x, None, length=STEPS)[0]

    solve = dopri5 if adaptive else rk4
    step = jax.jit(jax.grad(lambda x, w: jnp.mean(solve(x, w) ** 2), argnums=(0, 1)))

    def run() -> list:
        gx, gw = jax.block_until_ready(step(x, weights))
        return [torch.tensor(np.asarray(g)) for g in (gx, *gw)]

    return {"diffrax, compiled" if adaptive else "JAX, compiled": run}


def by_hand(field: Cubic, x0: Tensor) -> dict[str, Gradient]:
    """floors/spiral_rk4.c, where there is a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "floor.so"
        source = Path(__file__).parent / "floors" / "spiral_rk4.c"
        flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, str(source), "-o", str(library), "-lm"], check=True)
        step = ctypes.CDLL(str(library)).step
    p = torch.cat([v.detach().flatten() for v in field.parameters()]).numpy()
    start, x, gx, gp = x0.flatten().numpy(), *(np.zeros(n, np.float32) for n in (2, 2, len(p)))
    work = np.zeros(4 * STEPS * (2 + WIDTH), np.float32)
    step.argtypes = [ctypes.c_int, ctypes.c_float, *[np.ctypeslib.ndpointer(np.float32)] * 6]
    step.restype = None
    sizes, shapes = zip(*((v.numel(), v.shape) for v in field.parameters()), strict=True)

    def run() -> list:
        step(STEPS, END / STEPS, p, start, x, gx, gp, work)
        return [torch.tensor(gx).view(1, 2), *map(Tensor.view, torch.tensor(gp).split(sizes), shapes)]

    return {"floor: C by hand": run}


def exact(field: nn.Module, x0: Tensor) -> list[Tensor]:
    """The gradient in double precision, by dopri5 at 1e-11."""
    weights = {name: p.detach().double().requires_grad_() for name, p in field.named_parameters()}
    x = x0.double().requires_grad_()
    node = NeuralODE(lambda t, x: torch.func.functional_call(field, weights, (t, x)), t=(0.0, END), rtol=1e-11,
                     atol=1e-11, max_steps=10**5)
    return list(torch.autograd.grad(node(x).square().mean(), [x, *weights.values()]))


def apart(found: list[Tensor], truth: list[Tensor]) -> float:
    """The largest difference, relative to the size of each part."""
    return max(((u.double() - v).norm() / v.norm().clamp(min=1e-9)).item() for u, v in zip(found, truth, strict=True))


def compare(name: str, field: nn.Module, x0: Tensor, adaptive: bool) -> dict:
    runs = by_torch(field, x0, adaptive) | by_jax(field, x0, adaptive)
    if not adaptive and isinstance(field, Cubic):
        runs |= by_hand(field, x0)
    truth = exact(field, x0)
    errors = {who: apart(run(), truth) for who, run in runs.items()}
    if wrong := [f"{who} {error:.1e}" for who, error in errors.items() if not error < 2e-3]:
        raise AssertionError(f"{name}: gradients further than 2e-3 from the exact one: {', '.join(wrong)}")
    node = NeuralODE(field, t=(0.0, END), rtol=TOL, atol=TOL)
    node(x0)
    nfe = node.nfe.forward if adaptive else 4 * STEPS
    times = turns(runs | {"floor: the field alone": field_alone(field, x0, nfe)}, calls=2)
    return {"case": name, "kind": "adaptive" if adaptive else "fixed", "evaluations": nfe,
            "error of the gradient": errors, "ms": {who: spread(row) for who, row in times.items()},
            "over ours": {who: over(times, who, "ours") for who in times}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rows = []
    for name, (field, x0) in problems().items():
        for adaptive in (True, False):
            rows.append(row := compare(name, field, x0, adaptive))
            for who, ratio in row["over ours"].items():
                print(f"{name:32s} {row['kind']:9s} {who:28s} {ratio['median']:6.3f} of ours", flush=True)
    keep("step", about("torchdiffeq", "torchdyn", "torchode", "jax", "diffrax") | {"rows": rows})


if __name__ == "__main__":
    main()
