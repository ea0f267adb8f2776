"""Implicit layers: y = x + (1-θ)hF(x) + θhF(y), its solvers, its gradient by one linear solve, and what goes wrong.

The layer is the θ-method for x' = F(x) (Reshniak and Webster, arXiv 1905.10479, equation 7): θ = 0 is a residual
block, θ = ½ the trapezoidal rule, θ = 1 backward Euler.
"""

from .convergence import BlowUpError, Convergence, ConvergenceError, ConvergenceWarning
from .deq import EquilibriumLayer, jacobian_penalty
from .equation import Equation, lipschitz
from .fields import ConvField, SkewField
from .nets import ImplicitNet, runs_of, train_runs
from .reversible import ReversibleTrapezoid
from .solvers import SOLVERS, choose, find_root
from .theta_layer import ThetaLayer

__all__ = [
    "SOLVERS",
    "BlowUpError",
    "ConvField",
    "Convergence",
    "ConvergenceError",
    "ConvergenceWarning",
    "Equation",
    "EquilibriumLayer",
    "ImplicitNet",
    "ReversibleTrapezoid",
    "SkewField",
    "ThetaLayer",
    "choose",
    "find_root",
    "jacobian_penalty",
    "lipschitz",
    "runs_of",
    "train_runs",
]
