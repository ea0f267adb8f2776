"""One fit in JAX, through diffrax or by a plain RK4: ``python fits_jax.py FOLDER`` (called by benchmarks/fits.py)."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
task, given = json.loads((folder / "task.json").read_text()), np.load(folder / "in.npz")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

least_squares, plain = "Levenberg" in task["name"], task["name"].startswith("JAX")
if not plain:
    import diffrax
if least_squares:
    jax.config.update("jax_enable_x64", True)
else:
    import optax
cubed, target, cap = task["problem"] == "spiral", task["target"], task["cap"]
t, y = jnp.asarray(given["t"], dtype=float), jnp.asarray(given["y"], dtype=float)
weights = [jnp.asarray(given[f"arr_{i}"], dtype=float) for i in range(4)]


def field(s, x, weights):
    W, b, V, c = weights
    return V @ jnp.tanh(W @ (x**3 if cubed else x) + b) + c


def rollout(weights, x0, times, dt0):
    """Tsit5 at the tolerances that torchdiffeq is given; or RK4 in twice our steps, whose error decides who arrives."""
    if plain:
        return jnp.concatenate((x0[None], rk4(weights, x0, times, 2 * STEPS)))
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Tsit5(), times[0], times[-1], dt0, x0, args=weights, max_steps=1024,
        stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-4), saveat=diffrax.SaveAt(ts=times),
    ).ys  # fmt: skip


def adam():
    """The whole rollout, Adam, one compiled step, until the loss that is computed meets the target."""
    opt = optax.adam(task["lr"])

    @jax.jit
    def step(weights, state):
        loss, g = jax.value_and_grad(lambda w: jnp.mean((rollout(w, y[0], t, None) - y) ** 2))(weights)
        change, state = opt.update(g, state)
        return loss, optax.apply_updates(weights, change), state

    state, now, epoch, begun = opt.init(weights), weights, 0, time.process_time()
    while time.process_time() - begun < cap:
        try:
            loss, after, state = step(now, state)
        except ValueError:  # the solver's steps ran out: at this rate the field blows up, and that is the end
            break
        if float(loss) <= 0.9 * target:
            break
        now, epoch = after, epoch + 1
    return now, epoch


STEPS = 2 if cubed else 1  # between the data, as ours


def rk4(w, x0, times, steps):
    """RK4; the states after the first."""
    h = (times[1] - times[0]) / steps

    def one(x, _):
        k1 = field(0.0, x, w)
        k2 = field(0.0, x + h / 2 * k1, w)
        k3 = field(0.0, x + h / 2 * k2, w)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + field(0.0, x + h * k3, w))
        return x, x

    return jax.lax.scan(one, x0, None, length=(len(times) - 1) * steps)[1][steps - 1 :: steps]


def solve(w, x0, times, backward=False):
    """Tsit5 in as many steps between the data as ours, or RK4; the states after the first."""
    if plain:
        return rk4(w, x0, times, STEPS)
    adjoint = diffrax.RecursiveCheckpointAdjoint() if backward else diffrax.ForwardMode()
    fine = times[0] + (times[1] - times[0]) / STEPS * jnp.arange((len(times) - 1) * STEPS + 1)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Tsit5(), fine[0], fine[-1], None, x0, args=w, max_steps=len(fine),
        saveat=diffrax.SaveAt(ts=fine[STEPS::STEPS]), stepsize_controller=diffrax.StepTo(ts=fine), adjoint=adjoint,
    ).ys  # fmt: skip


@jax.jit
def rolled(w):
    seen = rk4(w, y[0], t, 2 * STEPS) if plain else solve(w, y[0], t)
    return jnp.mean((jnp.concatenate((y[:1], seen)) - y) ** 2)


def shooting():
    """Segments as ours side by side (vmap), and the rollout measured every ten epochs."""
    group = 3 if cubed else 5
    first = np.arange(0, len(t) - 1, group)
    index = first[:, None] + np.arange(1, group + 1)
    opt = optax.adam(task["lr"])

    def loss(w):
        return jnp.mean((jax.vmap(lambda x: solve(w, x, t[: group + 1], backward=True))(y[first]) - y[index]) ** 2)

    @jax.jit
    def step(w, state):
        change, state = opt.update(jax.grad(loss)(w), state)
        return optax.apply_updates(w, change), state

    state, now, epoch, begun = opt.init(weights), weights, 0, time.process_time()
    while time.process_time() - begun < cap:
        now, state = step(now, state)
        epoch += 1
        if epoch % 10 == 0 and float(rolled(now)) <= 0.9 * target:
            break
    return now, epoch


def gauss_newton():
    """Our algorithm, stage for stage: Tsit5 in as many steps, forward-mode Jacobian, all compiled."""
    from jax.flatten_util import ravel_pytree
    from jax.scipy.linalg import cho_factor, cho_solve

    p, unravel = ravel_pytree(weights)

    def make(group):
        first = np.arange(0, len(t) - 1, group)

        def residual(p):
            seen = jax.vmap(lambda x: solve(unravel(p), x, t[: group + 1]))(y[first])
            return (seen.reshape(-1, 2)[: len(t) - 1] - y[1:]).ravel() / np.sqrt(y.size)

        @jax.jit
        def both(p):
            return residual(p), jax.jacfwd(residual)(p)

        @jax.jit
        def step(r, J, lam):
            squares = (J**2).sum(0)
            scale = jnp.sqrt(squares + squares.mean())
            A = J / scale
            if len(r) < len(scale):
                d = -A.T @ cho_solve(cho_factor(A @ A.T + lam * jnp.eye(len(r))), r)
            else:
                d = -cho_solve(cho_factor(A.T @ A + lam * jnp.eye(len(scale))), A.T @ r)
            return d / scale, ((A @ d) ** 2).sum() + 2 * lam * (d**2).sum()

        return both, step

    solves = 0
    for group in (1, len(t) - 1) if cubed else (1, 5, 20, len(t) - 1):
        both, step = make(group)
        last = group == len(t) - 1
        lam, grow, (r, J) = 0.1, 2.0, both(p)
        cost, used = float((r**2).sum()), 1
        while used < 40 and cost > 0.9 * target / (1 if last else 100):
            d, promised = step(r, J, lam)
            r_new, J_new = both(p + d)
            new, used = float((r_new**2).sum()), used + 1
            gain = (cost - new) / float(promised)
            if gain > 0:
                slow = cost - new < 1e-2 * cost and not last
                p, r, J, cost = p + d, r_new, J_new, new
                lam, grow = lam * max(0.1, 1 - (2 * gain - 1) ** 3), 2.0
                if slow:
                    break
            else:
                lam, grow = lam * grow, grow * 2
        solves += used
        if float(rolled(unravel(p))) <= 0.9 * target:
            break
    return unravel(p), solves


begun, begun_cpu = time.perf_counter(), time.process_time()
found, evaluations = gauss_newton() if least_squares else shooting() if "shooting" in task["name"] else adam()
seconds = {"fit": time.perf_counter() - begun, "fit cpu": time.process_time() - begun_cpu}
np.savez(folder / "out.npz", *[np.asarray(w, dtype=np.float64) for w in found])
(folder / "out.json").write_text(json.dumps(seconds | {"evaluations": evaluations}))
