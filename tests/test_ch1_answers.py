"""Chapter 1's checks: right answers written another way pass, and answers that make no sense get one clear line."""

import contextlib
import io
from pathlib import Path

import pytest

from course_lib.authoring import masters
from course_lib.checks import CheckFailed

MASTER = masters.read(Path(__file__).parents[1] / "solutions" / "ch1_euler.md")

RIGHT = {
    "ch1-euler-step": [
        "def euler_step(f, t, x, h):\n    return torch.add(x, f(t, x), alpha=h)",
        "def euler_step(f, t, x, h):\n    x = x.clone()\n    x += f(t, x) * h\n    return x",
    ],
    "ch1-residual-net": [
        """
def residual_net(branches, x):
    if not branches:
        return x
    head, *tail = branches
    return residual_net(tail, head(x) + x)

class field_of:
    def __init__(self, branches):
        self.branches = branches
    def __call__(self, t, x):
        return self.branches[math.floor(float(t))](x)
""",
        """
def residual_net(branches, x):
    return solve(field_of(branches), x, [float(k) for k in range(len(branches) + 1)], method="euler")[-1]

def field_of(branches):
    def f(t, x):
        for l, branch in enumerate(branches):
            if l <= t < l + 1:
                return branch(x)
    return f
""",
    ],
    "ch1-midpoint": [
        """
def integrate_midpoint(f, x0, t0, t1, steps):
    t, h = t0, (t1 - t0) / steps
    while steps:
        x0 = x0 + h * f(t + 0.5 * h, x0 + 0.5 * h * f(t, x0))
        t, steps = t + h, steps - 1
    return x0
""",
        """
def integrate_midpoint(f, x0, t0, t1, steps):
    grid = torch.linspace(t0, t1, 2 * steps + 1, dtype=torch.float64)
    for left, middle, right in zip(grid[:-2:2], grid[1:-1:2], grid[2::2]):
        k1 = f(left, x0)
        k2 = f(middle, x0 + (middle - left) * k1)
        x0 = x0 + (right - left) * k2
    return x0
""",
    ],
    "ch1-order": [
        "def fit_order(h, error):\n    return np.polyfit(np.log(h.numpy()), np.log(error.numpy()), 1)[0]",
        """
def fit_order(h, error):
    A = torch.stack([torch.log10(h), torch.ones_like(h)], dim=1)
    return torch.linalg.lstsq(A, torch.log10(error)).solution[0]
""",
    ],
    "ch1-gradients": [
        """
def sensitivities(weights, x, h, skip):
    states = [x]
    for w in weights:
        states.append(layer(w, states[-1], h, skip))
    steps = skip + h * weights / torch.cosh(weights * torch.stack(states[:-1])) ** 2
    return torch.cat([steps, torch.ones(1, dtype=steps.dtype)]).flip(0).cumprod(0).flip(0)
""",
        """
def sensitivities(weights, x, h, skip):
    if len(weights) == 0:
        return torch.ones(1, dtype=x.dtype)
    rest = sensitivities(weights[1:], layer(weights[0], x, h, skip), h, skip)
    first = (skip + h * weights[0] * (1 - torch.tanh(weights[0] * x).square())) * rest[0]
    return torch.cat([first[None], rest])
""",
    ],
    "ch1-grow": [
        """
def new_branch(width, hidden):
    last = nn.Linear(hidden, width)
    last.load_state_dict({name: 0 * value for name, value in last.state_dict().items()})
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), last)
""",
        """
def new_branch(width, hidden):
    first, last = nn.Linear(width, hidden), nn.Linear(hidden, width)
    with torch.no_grad():
        for p in (first.weight, first.bias, last.bias):
            p.zero_()
    return nn.Sequential(first, nn.Tanh(), last)
""",
    ],
    "ch1-steps": [
        """
def choose_steps(f, x0, T, tol):
    n = 16
    while True:
        a, b = (solve(f, x0, [0.0, T], method="euler", steps=k)[-1] for k in (n, 2 * n))
        if (b - a).abs().max() <= 0.7 * tol:
            return 2 * n
        n = int(1.4 * n)
""",
        """
def choose_steps(f, x0, T, tol):
    exact = solve(f, x0, [0.0, T], steps=1000)[-1]
    n = 4
    while not (solve(f, x0, [0.0, T], method="euler", steps=n)[-1] - exact).abs().max() < tol / 2:
        n *= 2
    return np.int64(n)
""",
    ],
}

# What a function may return that is no answer; each is put in the place of all functions of the blank.
SENSELESS = ["None", "'text'", "[]", "torch.zeros(7, 7)", "torch.tensor(float('nan'))", "1 / 0", "lambda *a: None"]
NAMES = {
    "ch1-euler-step": ["euler_step"],
    "ch1-residual-net": ["residual_net", "field_of"],
    "ch1-midpoint": ["integrate_midpoint"],
    "ch1-order": ["fit_order"],
    "ch1-gradients": ["sensitivities"],
    "ch1-grow": ["new_branch"],
    "ch1-steps": ["choose_steps"],
}


def check(exercise: str, answer: str) -> None:
    """Run the cells that students need, this answer in place of the blank, and the check with its hidden tests."""
    namespace, place = {}, MASTER.exercises[exercise]
    with contextlib.redirect_stdout(io.StringIO()):
        for k, cell in enumerate(MASTER.cells[: place.check + 1]):
            if k == place.blank:
                exec(answer, namespace)
            elif k == place.check or (cell.cell_type == "code" and not uses_answers(cell)):
                exec(cell.source, namespace)


def uses_answers(cell) -> bool:
    """A blank, a check, or a cell that applies an answer."""
    return "exercise" in cell.metadata or "check" in cell.metadata or "assert" in cell.source


def test_every_exercise_is_tried():
    assert list(RIGHT) == list(NAMES) == list(MASTER.exercises)


@pytest.mark.parametrize(("exercise", "answer"), [(name, a) for name, answers in RIGHT.items() for a in answers])
def test_right_answers_written_another_way_pass(exercise, answer):
    check(exercise, answer)


@pytest.mark.parametrize("exercise", NAMES)
@pytest.mark.parametrize("value", SENSELESS)
def test_senseless_answers_get_one_clear_line(exercise, value):
    answer = "\n".join(f"def {name}(*arguments):\n    return {value}\n" for name in NAMES[exercise])
    with pytest.raises(CheckFailed) as failure:
        check(exercise, answer)
    assert 10 < len(str(failure.value)) < 300 and "\n" not in str(failure.value)
    assert failure.value.__suppress_context__ or failure.value.__context__ is None


@pytest.mark.parametrize("exercise", NAMES)
def test_an_unfilled_blank_stays_what_it_is(exercise):
    answer = "\n".join(f"def {name}(*_):\n    raise NotImplementedError('{name}')\n" for name in NAMES[exercise])
    with pytest.raises(NotImplementedError, match=f"^{NAMES[exercise][0]}$"):
        check(exercise, answer)
