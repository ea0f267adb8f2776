"""What a solver raises when there is no solution to return."""


class SolveError(RuntimeError):
    """There is no solution: the state left the numbers, the steps ran out, or the step size shrank to nothing."""
