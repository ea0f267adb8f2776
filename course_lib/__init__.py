"""The library of the course: integrators, residual nets, fitting and the tools that check them.

Import the modules by name, for example ``from course_lib.integrators import solve``.
"""

__version__ = "0.1.0"
