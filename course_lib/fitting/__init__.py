"""Trajectories to data: forward sensitivities through torchdiffeq, and Levenberg–Marquardt least squares."""

from .least_squares import Fit, levenberg_marquardt, multi_start, trajectory_residuals
from .sensitivities import SolveError, integrate, sensitivities

__all__ = [
    "Fit",
    "SolveError",
    "integrate",
    "levenberg_marquardt",
    "multi_start",
    "sensitivities",
    "trajectory_residuals",
]
