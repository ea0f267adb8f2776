"""One-step methods for x' = f(t, x), each a plain function with its order, and ``solve`` to repeat them.

``METHODS`` are explicit, ``IMPLICIT`` solve an equation in each step, ``PARTITIONED`` need a field of two halves;
``solve`` knows them all by name, and ``dopri5``, which chooses its own steps.
"""

from .batched import Solutions, dopri5_each
from .dopri5 import Solution, Step, dopri5
from .errors import SolveError
from .explicit import METHODS, Method, euler, heun, midpoint, rk4
from .implicit import IMPLICIT, NewtonFailed, backward_euler, trapezoid
from .partitioned import PARTITIONED, Partitioned, leapfrog, symplectic_euler, verlet
from .solve import solve
from .step_control import error_ratio, next_step, rms

__all__ = [
    "IMPLICIT", "METHODS", "PARTITIONED", "Method", "NewtonFailed", "Partitioned", "Solution", "Solutions",
    "SolveError", "Step", "backward_euler", "dopri5", "dopri5_each", "error_ratio", "euler", "heun", "leapfrog",
    "midpoint", "next_step", "rk4", "rms", "solve", "symplectic_euler", "trapezoid", "verlet",
]
