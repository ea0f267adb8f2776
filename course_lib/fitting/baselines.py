"""Forecasts that cost nothing: what a model of a series must beat before its parameters are worth having.

A series has shape (n, d), a row for each time, evenly spaced; a forecast of `horizon` times has shape (horizon, d).
Give logarithms where errors count in proportion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


def check_series(series: Tensor, need: int, why: str) -> Tensor:
    """The series as it is if it has at least `need` rows of finite numbers."""
    if series.ndim != 2 or not series.is_floating_point() or not torch.isfinite(series).all():
        raise ValueError("series: expected finite numbers of shape (n, d), a row for each time.")
    if len(series) < need:
        raise ValueError(f"series: has {len(series)} rows, {why} needs at least {need}.")
    return series


def persistence(series: Tensor, horizon: int) -> Tensor:
    """The last row again and again."""
    return check_series(series, 1, "persistence")[-1:].repeat(horizon, 1)


def seasonal_naive(series: Tensor, horizon: int, *, period: int) -> Tensor:
    """What was seen `period` times before; beyond one period, the forecast repeats itself."""
    last = check_series(series, period, f"a period of {period}")[-period:]
    return last[torch.arange(horizon) % period]


@dataclass(frozen=True)
class AutoRegression:
    """x_i = intercept + sum_k coefficients[k] x_{i-1-k} + noise.

    intercept: (d,); coefficients: (order, d, d); noise: (d,), standard deviations of what is left.
    """

    intercept: Tensor
    coefficients: Tensor
    noise: Tensor

    @property
    def order(self) -> int:
        return len(self.coefficients)

    @property
    def parameters(self) -> int:
        """The count of fitted numbers, the intercept and the coefficients that are not zero by construction."""
        return len(self.intercept) + int((self.coefficients != 0).sum())

    def forecast(self, series: Tensor, horizon: int) -> Tensor:
        """Expected values after the end of the series, shape (horizon, d)."""
        past = list(check_series(series, self.order, f"order {self.order}"))
        for _ in range(horizon):
            terms = zip(self.coefficients, reversed(past), strict=False)
            past.append(self.intercept + sum(a @ x for a, x in terms))
        return torch.stack(past[len(series) :])

    def simulate(self, series: Tensor, horizon: int, *, draws: int, seed: int) -> Tensor:
        """Possible futures with normal noise, shape (draws, horizon, d)."""
        generator = torch.Generator().manual_seed(seed)
        past = [row.expand(draws, -1) for row in check_series(series, self.order, f"order {self.order}")]
        for _ in range(horizon):
            terms = zip(self.coefficients, reversed(past), strict=False)
            shock = torch.randn(past[0].shape, generator=generator, dtype=series.dtype)
            past.append(self.intercept + sum(x @ a.T for a, x in terms) + self.noise * shock)
        return torch.stack(past[len(series) :], 1)


def autoregression(series: Tensor, order: int, *, joint: bool = False) -> AutoRegression:
    """Least squares of each row on the `order` rows before it.

    Parameters
    ----------
    series, order
        Shape (n, d); at least 1.
    joint
        Each variable on the past of all of them (a vector autoregression), not of itself alone.

    Raises
    ------
    ValueError
        Too few rows for the number of unknowns.
    """
    if order < 1:
        raise ValueError(f"order: expected at least 1, got {order!r}.")
    d = series.shape[-1]
    unknowns = 1 + order * (d if joint else 1)
    n = len(check_series(series, order + unknowns + 1, f"order {order}{', joint' if joint else ''}"))
    lagged = torch.stack([series[order - k - 1 : n - k - 1] for k in range(order)], 1)  # (n - order, order, d)
    intercept, coefficients, noise = series.new_zeros(d), series.new_zeros(order, d, d), series.new_zeros(d)
    for j in range(d):
        columns = lagged.flatten(1) if joint else lagged[:, :, j]
        design = torch.cat((torch.ones_like(columns[:, :1]), columns), 1)
        solution = torch.linalg.lstsq(design, series[order:, j : j + 1]).solution[:, 0]
        intercept[j] = solution[0]
        if joint:
            coefficients[:, j, :] = solution[1:].view(order, d)
        else:
            coefficients[:, j, j] = solution[1:]
        left = series[order:, j] - design @ solution
        noise[j] = (left.square().sum() / (n - order - unknowns)).sqrt()
    return AutoRegression(intercept, coefficients, noise)


def choose_autoregression(
    series: Tensor, held_out: int, candidates: Iterable[tuple[int, bool]]
) -> tuple[tuple[int, bool], dict[tuple[int, bool], float]]:
    """The (order, joint) that forecasts the last `held_out` rows best from those before, and every candidate's error.

    The error is the root mean square over the rows held out. Fit the choice again on all rows.
    """
    before, after = series[:-held_out], series[-held_out:]
    errors = {}
    for order, joint in candidates:
        forecast = autoregression(before, order, joint=joint).forecast(before, held_out)
        errors[order, joint] = (forecast - after).square().mean().sqrt().item()
    return min(errors, key=errors.get), errors
