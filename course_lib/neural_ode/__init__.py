"""Neural ODEs: a network as the field of x' = f(t, x), and the gradient of what a solver makes of it."""

from .adjoint import adjoint
from .augment import Augment
from .discrete import discrete_adjoint
from .fields import MLPField
from .node import NFE, NeuralODE
from .odenet import ODENet

__all__ = ["NFE", "Augment", "MLPField", "NeuralODE", "ODENet", "adjoint", "discrete_adjoint"]
