"""Neural ODEs: a network as the field of x' = f(t, x), and the gradient of what a solver makes of it."""

from .adjoint import adjoint
from .augment import Augment
from .discrete import discrete_adjoint
from .fields import MLPField
from .node import NFE, NeuralODE
from .odenet import ODENet
from .structured import DampedHamiltonian, PreyPredator, SecondOrder, SeedNet, Unstructured

__all__ = [
    "NFE",
    "Augment",
    "DampedHamiltonian",
    "MLPField",
    "NeuralODE",
    "ODENet",
    "PreyPredator",
    "SecondOrder",
    "SeedNet",
    "Unstructured",
    "adjoint",
    "discrete_adjoint",
]
