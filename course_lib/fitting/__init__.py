"""Trajectories to data: shooting and rollouts for neural fields, sensitivities and least squares for parameters."""

from .baselines import AutoRegression, autoregression, choose_autoregression, persistence, seasonal_naive
from .bootstrap import bootstrap, resample
from .gauss_newton import fit_trajectory
from .horizon import full_rollout, growing_horizon
from .least_squares import levenberg_marquardt, multi_start
from .residuals import trajectory_residuals, trajectory_rows
from .rows import Fit, levenberg_marquardt_rows
from .sensitivities import SolveError, integrate, sensitivities
from .shooting import TrajectoryFit, multiple_shooting

__all__ = [
    "AutoRegression",
    "Fit",
    "SolveError",
    "TrajectoryFit",
    "autoregression",
    "bootstrap",
    "choose_autoregression",
    "fit_trajectory",
    "full_rollout",
    "growing_horizon",
    "integrate",
    "levenberg_marquardt",
    "levenberg_marquardt_rows",
    "multi_start",
    "multiple_shooting",
    "persistence",
    "resample",
    "seasonal_naive",
    "sensitivities",
    "trajectory_residuals",
    "trajectory_rows",
]
