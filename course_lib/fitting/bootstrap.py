"""Standard errors from repeated fits to resampled residuals, in place of a linear approximation."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.integrators.errors import SolveError
from course_lib.integrators.solve import solve

from .residuals import trajectory_rows
from .rows import Fit, levenberg_marquardt_rows
from .sensitivities import Model


def resample(residuals: Tensor, replicates: int, *, block: int = 1, seed: int) -> Tensor:
    """Residuals drawn again, in blocks of neighbouring times, shape (replicates, m, d).

    Blocks of one time take the residuals for independent; longer ones keep what neighbours have in common (Künsch 1989,
    with the ends of the series joined). A row keeps its d residuals together.

    Parameters
    ----------
    residuals
        Shape (m, d), time by time; their mean is taken off.
    block
        Times in a block, 1 to m.
    """
    m = len(residuals)
    if not 1 <= block <= m:
        raise ValueError(f"block: expected 1 to {m} times, got {block!r}.")
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(m, (replicates, -(-m // block)), generator=generator)
    index = (starts.unsqueeze(-1) + torch.arange(block)) % m
    return (residuals - residuals.mean(0))[index.flatten(1)[:, :m]]


def bootstrap(
    model: Model, p: Tensor, t: Tensor, residuals: Tensor, *, replicates: int = 200, block: int = 1, seed: int = 0,
    steps: int = 4, max_solves: int = 20,
) -> Tensor:
    """Parameters fitted again to data made of the fitted solution and resampled residuals (Efron 1979).

    Parameters
    ----------
    model, p, t
        See ``sensitivities``; p, shape (n,), is the fit whose spread is asked for; t, shape (m,).
    residuals
        Its log x - log data, shape (m, d).
    replicates, block, seed
        Fits to make; times in a block, see ``resample``; seed of the draws.
    steps
        Steps of RK4 between neighbouring times, so many that its error is far below the noise.

    Returns
    -------
    Tensor
        Shape (replicates, n). Their standard deviations, over axis 0, are standard errors.

    Raises
    ------
    SolveError
        More than one in twenty of the fits did not converge, which the message counts; up to that many are left out.
    """
    with torch.no_grad():
        clean = solve(*model(p), t, method="rk4", steps=steps)
    data = clean * resample(residuals, replicates, block=block, seed=seed).neg().exp()
    fits = levenberg_marquardt_rows(
        trajectory_rows(model, t, data, steps=steps), p.expand(replicates, -1), max_solves=max_solves, gtol=1e-3,
        xtol=1e-4, damping=1e-3,
    )  # fmt: skip
    good = [fit.p for fit in fits if isinstance(fit, Fit) and fit.converged]
    if len(good) < 0.95 * replicates:
        lost = replicates - len(good)
        raise SolveError(f"bootstrap: {lost} of {replicates} fits did not converge; raise max_solves.")
    return torch.stack(good)
