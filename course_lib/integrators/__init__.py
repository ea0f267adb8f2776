"""One-step methods for x' = f(t, x), each a plain function with its order, and ``solve`` to repeat them.

``METHODS`` are explicit, ``IMPLICIT`` solve an equation in each step, ``PARTITIONED`` need a field of two halves;
``solve`` knows them all by name.
"""

from .explicit import METHODS, Method, euler, heun, midpoint, rk4
from .implicit import IMPLICIT, NewtonFailed, backward_euler, trapezoid
from .partitioned import PARTITIONED, Partitioned, leapfrog, symplectic_euler, verlet
from .solve import solve

__all__ = [
    "IMPLICIT", "METHODS", "PARTITIONED", "Method", "NewtonFailed", "Partitioned", "backward_euler", "euler", "heun",
    "leapfrog", "midpoint", "rk4", "solve", "symplectic_euler", "trapezoid", "verlet",
]
