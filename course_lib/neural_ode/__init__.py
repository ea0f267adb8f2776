"""Neural ODEs: a network as the field of x' = f(t, x), and the gradient of what a solver makes of it."""

from .fields import MLPField
from .node import NFE, NeuralODE

__all__ = ["NFE", "MLPField", "NeuralODE"]
