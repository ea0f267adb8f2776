"""One-step methods for x' = f(t, x), each a plain function with its order, and ``solve`` to repeat them."""

from .explicit import METHODS, Method, euler, heun, midpoint, rk4
from .solve import solve

__all__ = ["METHODS", "Method", "euler", "heun", "midpoint", "rk4", "solve"]
