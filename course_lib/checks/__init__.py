"""Self-checks for the exercises: an answer is compared with mathematics, never with a stored array.

Every check prints one line that says what held, or raises ``CheckFailed`` with one line that says what does not, in
the terms of the problem. ``Score`` groups the checks of an exercise and keeps the marks.
"""

from .installed import environment, require_torch
from .score import CheckFailed, Score

require_torch()  # before the modules that import it, so that its absence is one line with the mend

from .compare import close, derivative, exact, gradient, holds, parts, rowwise, same_function, whole  # noqa: E402
from .convergence import evaluations, order, repeat  # noqa: E402
from .graph import by_arithmetic, without_graph, without_solvers  # noqa: E402
from .implicit import SkewTanh, round_trip, separate, solves, states  # noqa: E402
from .stability import OnlyConvolutions, adjoint, partitioned_order, symmetric  # noqa: E402

__all__ = [
    "CheckFailed",
    "OnlyConvolutions",
    "Score",
    "SkewTanh",
    "adjoint",
    "by_arithmetic",
    "close",
    "derivative",
    "environment",
    "evaluations",
    "exact",
    "gradient",
    "holds",
    "order",
    "partitioned_order",
    "parts",
    "repeat",
    "round_trip",
    "rowwise",
    "same_function",
    "separate",
    "solves",
    "states",
    "symmetric",
    "whole",
    "without_graph",
    "without_solvers",
]
