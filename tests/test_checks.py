"""Self-checks: what is right passes, what is wrong is named in the problem's terms, and nothing else gets through."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from course_lib import checks
from course_lib.authoring import masters
from course_lib.checks import CheckFailed, Score, installed
from course_lib.integrators import METHODS, solve


def real(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", METHODS)
def test_order_accepts_each_method_at_its_own_order_only(name, capsys):
    method = METHODS[name]
    checks.order(checks.repeat(method.step), method.order, method=name)
    assert capsys.readouterr().out == f"holds: order {method.order} on 3 problems with known solutions\n"
    with pytest.raises(CheckFailed, match=rf"halving h divides your error by .*; {name} divides it by"):
        checks.order(checks.repeat(method.step), method.order + 1, method=name)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (lambda f, t, x, h: x + f(t, x), "is every slope multiplied by h"),
        (lambda f, t, x, h: x - h * f(t, x), "with a plus sign"),
        (lambda f, t, x, h: x + h * f(t, x + h / 2 * f(t, x)), r"on x' = −2tx, halving .* error by 2\.1; .* order 1;"),
        (METHODS["rk4"].step, "order 4, another method"),
        (lambda f, t, x, h: None, "got None; does the function return its result"),
        (lambda f, t, x, h: x[:1], r"expected shape \(2,\), got \(1,\)"),
        (lambda f, t, x, h: x / 0, "NaN or infinite"),
        (lambda f, t, x, h: [1.0, 2.0], "expected a tensor, got list"),
        (lambda f, t, x, h: torch.tensor([1, 2]), "expected floating-point numbers"),
    ],
)
def test_order_names_what_is_wrong_with_a_step(step, says):
    with pytest.raises(CheckFailed, match=says):
        checks.order(checks.repeat(step), 2, method="Heun's method")


def test_order_judges_code_that_works_in_place_by_its_result():
    def euler_in_place(f, t, x, h):
        x += h * f(t, x)
        return x

    checks.order(checks.repeat(euler_in_place), 1, method="Euler's method")


def test_order_needs_an_error_to_measure():
    solutions = {(0.0, 1.0): lambda x: x * math.e}

    def exact(f, x0, t0, t1, steps):
        return solutions[t0, t1](x0)

    with pytest.raises(CheckFailed, match="that is not Euler's method"):
        checks.order(exact, 1, method="Euler's method")


def test_evaluations_finds_times_left_out_and_times_too_many():
    euler, what = checks.repeat(METHODS["euler"].step), {"what": "two steps", "t0": 0.0, "t1": 1.0, "steps": 2}
    checks.evaluations(euler, [0.0, 0.5], **what)
    with pytest.raises(CheckFailed, match=r"two steps: your code does not use the slope at t = 0.25, 0.75\."):
        checks.evaluations(euler, [0.0, 0.25, 0.5, 0.75], **what)
    with pytest.raises(CheckFailed, match=r"uses a slope at t = 0.5\."):
        checks.evaluations(euler, [0.0], **what)


def test_close_compares_value_and_shape_and_names_the_slip():
    checks.close(2.0 + 1e-12, 2.0, what="the sum")
    checks.close(real([1e6 + 1e-6]), real([1e6]), what="relative where large")
    with pytest.raises(CheckFailed, match=r"^the sum: expected 2, got -2\. The sign is flipped\.$"):
        checks.close(-2.0, 2.0, what="the sum", slips={"Twice.": 4.0, "The sign is flipped.": -2.0})
    with pytest.raises(CheckFailed, match=r"^the sum: expected 2, got 2\.1\.$"):
        checks.close(2.1, 2.0, what="the sum", slips={"The sign is flipped.": -2.0})
    with pytest.raises(CheckFailed, match="expected shape"):
        checks.close(real([2.0, 2.0]), 2.0, what="the sum")
    with pytest.raises(CheckFailed, match="NaN"):
        checks.close(math.nan, 2.0, what="the sum")


def test_a_slip_that_is_a_number_is_compared_in_float64():
    with pytest.raises(CheckFailed, match="a third"):
        checks.close(1 / 3, 1.0, what="the value", slips={"That is a third.": 1 / 3})


def test_a_difference_that_does_not_show_in_print_is_told():
    with pytest.raises(CheckFailed, match=r"^the sum: expected 2, got 2\. They differ by 1e-08\.$"):
        checks.close(2.0 + 1e-8, 2.0, what="the sum")
    third = torch.tensor(1 / 3, dtype=torch.float32)
    with pytest.raises(CheckFailed, match="right to the seven digits of float32: compute in float64"):
        checks.close(third, 1 / 3, what="a third")
    with pytest.raises(CheckFailed, match=r"your derivative is 2\. It is right to the seven digits of float32"):
        checks.gradient(torch.tensor(2.000001), lambda x: x**2, real(1.0), what="the slope")
    with pytest.raises(CheckFailed, match=r"got 0\.4\.$"):
        checks.close(torch.tensor(0.4), 1 / 3, what="a third")


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3), torch.tensor(3), torch.tensor([3.0])])
def test_a_whole_number_may_be_held_by_any_type(value):
    found = checks.whole(value, what="the count")
    assert found == 3 and type(found) is int


@pytest.mark.parametrize("value", [None, "3", 2.5, math.nan, math.inf, [3], torch.zeros(2)])
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(CheckFailed, match=r"^the count: expected a whole number, got "):
        checks.whole(value, what="the count")


def test_parts_are_as_many_as_their_names():
    assert checks.parts([1, 2], "m", "loss") == (1, 2)
    with pytest.raises(CheckFailed, match=r"^expected the pair \(m, loss\), got None; does the function return"):
        checks.parts(None, "m", "loss")
    with pytest.raises(CheckFailed, match=r"^the step: expected 3 results \(a, b, c\), got 2 values\.$"):
        checks.parts((1, 2), "a", "b", "c", what="the step")
    with pytest.raises(CheckFailed, match=r"got Tensor\.$"):
        checks.parts(torch.zeros(2), "m", "loss")


def test_exact_sees_the_last_bit_and_the_dtype():
    x = real([0.1, 0.2])
    checks.exact(x.clone(), x, what="a copy")
    with pytest.raises(CheckFailed, match=r"not equal to the last bit; the largest difference is 2\.78e-17"):
        checks.exact(torch.nextafter(x, real([0.0, 1.0])), x, what="a neighbour")
    with pytest.raises(CheckFailed, match="float32"):
        checks.exact(x.float(), x, what="another dtype")


def test_same_function_compares_on_all_inputs():
    x = torch.linspace(-1, 1, 5)
    checks.same_function(torch.sin, lambda x: torch.sin(x), x, what="the sine")
    with pytest.raises(CheckFailed, match=r"differ by up to 0\.159 on 5 inputs"):
        checks.same_function(lambda x: x, torch.sin, x, what="the sine")


def test_gradient_is_compared_with_central_differences():
    x = real([[0.3, -1.2], [2.0, 0.1]])

    def f(x):
        return (torch.sin(x) * x).sum()

    right = torch.cos(x) * x + torch.sin(x)
    checks.gradient(right, f, x, what="the gradient")
    with pytest.raises(CheckFailed, match=r"finite differences give .* The product rule"):
        checks.gradient(torch.cos(x), f, x, what="the gradient", slips={"The product rule is missing.": torch.cos(x)})


def test_holds_says_either_what_was_found_or_what_is_wrong(capsys):
    checks.holds(torch.tensor(True), passed="it is so", failed="it is not")
    assert capsys.readouterr().out == "holds: it is so\n"
    with pytest.raises(CheckFailed, match="it is not"):
        checks.holds(False, passed="it is so", failed="it is not")


def test_score_gives_marks_takes_them_back_and_sums_up(capsys):
    score = Score({"a": 2, "b": 1})
    with score.check("a"):
        pass
    assert capsys.readouterr().out == "a, 2 marks: these checks passed\n"
    score.summary()
    assert [line.split()[-3:] for line in capsys.readouterr().out.splitlines()] == [
        ["2", "of", "2"], ["0", "of", "1"], ["2", "of", "3"]
    ]
    with pytest.raises(CheckFailed, match="broken"), score.check("a"):
        raise CheckFailed("broken again")
    assert score.earned == {"a": 0, "b": 0}
    with pytest.raises(ValueError, match="exercise: 'c' is not one of a, b"), score.check("c"):
        pass


def said_of(answer: str, use: str, cells: Path) -> str:
    """What the score says of an answer's cell and a check's cell that uses it; a cell is a file, as in a notebook."""
    namespace: dict = {"Score": Score}
    check = f"with Score({{'a': 1}}).check('a'):\n    {use}"
    with pytest.raises(CheckFailed) as caught:
        for name, source in (("answer.py", answer), ("check.py", check)):
            (cells / name).write_text(source)
            exec(compile(source, cells / name, "exec"), namespace)
    assert caught.value.__suppress_context__ and "\n" not in str(caught.value)
    return str(caught.value)


def test_score_turns_an_error_in_an_answer_into_one_line(tmp_path):
    said = said_of("def answer(x):\n    return x.no_such_thing", "answer(1.0)", tmp_path)
    assert said == (
        "your code stopped with AttributeError: 'float' object has no attribute 'no_such_thing', "
        "near line 2 of answer: return x.no_such_thing"
    )


def test_an_error_in_what_a_check_gave_to_an_answer_is_told_by_the_answers_line(tmp_path):
    said = said_of("def answer(f):\n    return f(1.0, 2.0)", "answer(lambda t: t.shape)", tmp_path)
    assert said.startswith("your code stopped with TypeError") and said.endswith("of answer: return f(1.0, 2.0)")
    said = said_of("def answer(f):\n    return f(None)", "answer(lambda t: t.shape)", tmp_path)
    assert said.startswith("your code stopped with AttributeError") and said.endswith("of answer: return f(None)")


def test_an_error_of_the_check_over_what_was_returned_is_not_put_on_the_students_code(tmp_path):
    said = said_of("def answer():\n    return 3", "answer().shape", tmp_path)
    assert said == (
        "what your code returned does not fit: AttributeError: 'int' object has no attribute 'shape', "
        "in the check's line: answer().shape"
    )


def test_score_leaves_an_unfilled_blank_alone():
    blank = NotImplementedError("a: put your answer here")
    with pytest.raises(NotImplementedError) as caught, Score({"a": 1}).check("a"):
        checks.close(checks.repeat(lambda *_: (_ for _ in ()).throw(blank))(None, real(1.0), 0, 1, 1), 1.0, what="a")
    assert caught.value is blank


def test_a_notebook_shows_the_message_without_a_traceback(capsys):
    InteractiveShell.instance().run_cell("from course_lib import checks; checks.close(1.0, 2.0, what='the sum')")
    assert capsys.readouterr().out.strip() == "Not yet: the sum: expected 2, got 1."


def test_a_long_message_is_broken_between_words():
    message = "the state after one step of the method " * 6
    lines = CheckFailed(f"{message}\nsecond")._render_traceback_()
    assert max(map(len, lines)) <= 88 and lines[-1] == "second"
    assert " ".join(lines[:-1]) == f"Not yet: {message}".strip()


def test_a_notebook_shows_an_unfilled_blank_in_one_line_without_a_traceback(capsys):
    cell = "from course_lib import checks\nwith checks.Score({'a': 1}).check('a'):\n    "
    InteractiveShell.instance().run_cell(cell + "raise NotImplementedError('a: put your answer here')")
    assert capsys.readouterr().out.strip() == "Not answered yet: a: put your answer here"


def test_environment_is_one_line_when_all_is_well_and_names_what_is_missing(capsys, monkeypatch):
    checks.environment()
    assert capsys.readouterr().out.startswith("Everything the exercises need is here")
    monkeypatch.setitem(installed.NEEDED, "no_such_package", (1, 0))
    monkeypatch.setitem(installed.NEEDED, "numpy", (99, 0))
    with pytest.raises(CheckFailed) as caught:
        checks.environment()
    old, missing = str(caught.value).splitlines()
    assert "numpy" in old and "is older than 99.0; run: " in old
    assert missing.startswith("no_such_package cannot be imported")
    assert '-m pip install "no_such_package>=1.0"' in missing


def test_a_missing_torch_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(CheckFailed, match=r"^torch cannot be imported .*pip install \"torch>=2.6\"[^\n]*$"):
        installed.require_torch()


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("solutions/*.md")), ids=lambda path: path.stem)
def test_marks_and_minutes_are_the_same_wherever_a_master_states_them(path):
    master = masters.read(path)
    scores = [cell.source for cell in master.cells if cell.cell_type == "code" and "checks.Score(" in cell.source]
    namespace: dict = {}
    exec(scores[0], namespace)
    assert len(scores) == 1 and namespace["score"].points == {ex.id: ex.points for ex in master.exercises.values()}
    rows = re.findall(r"^\| \d+ \| `(.+?)` \| .+? \| (\d+) \| (\d+) \|$", master.cells[0].source, flags=re.MULTILINE)
    assert rows == [(ex.id, str(ex.minutes), str(ex.points)) for ex in master.exercises.values()]
    prose = "\n".join(cell.source for cell in master.cells)
    heads = re.findall(r"^\*.+?, (\d+) minutes, (\d+) marks\.\*$", prose, flags=re.MULTILINE)
    assert heads == [row[1:] for row in rows]
    assert f"for {sum(ex.points for ex in master.exercises.values())} marks" in master.cells[0].source


def test_code_without_a_graph_passes_and_automatic_differentiation_is_refused():
    x = real([0.3, -1.2])

    def slope(x):
        return 1 - x.tanh() ** 2

    def by_autograd(x):
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(leaf.tanh().sum(), leaf)[0]

    with checks.without_graph():
        by_hand = torch.vmap(slope)(x)
        slope(x.clone().requires_grad_())
    refused = (
        by_autograd,
        torch.enable_grad()(by_autograd),
        torch.func.jacrev(torch.tanh),
        torch.func.jacfwd(torch.tanh),
        lambda x: torch.func.jvp(torch.tanh, (x,), (torch.ones_like(x),))[1],
        lambda x: torch.autograd.functional.jacobian(torch.tanh, x),
    )
    for differentiate in refused:
        torch.testing.assert_close(differentiate(x).reshape(2, -1).sum(1), by_hand)
        with pytest.raises(CheckFailed, match="automatic differentiation was used"), checks.without_graph():
            differentiate(x)
    with pytest.raises(RuntimeError, match="another error"), checks.without_graph():
        raise RuntimeError("another error")


def test_automatic_differentiation_is_known_by_its_refusal_of_complex_numbers():
    x = real([0.3, -1.2])
    seen = []
    checks.by_arithmetic(lambda x: seen.append(x.is_complex()) or 1 - x.tanh() ** 2, x)
    checks.by_arithmetic(lambda x: [float(v) for v in x], x)  # it takes no complex number, and need not
    assert seen == [True]
    refused = (
        torch.func.jacrev(torch.tanh),
        torch.func.jacfwd(torch.tanh),
        lambda x: torch.autograd.functional.jacobian(torch.tanh, x),
        lambda x: torch.autograd.grad(torch.tanh(leaf := x.requires_grad_()).sum(), leaf),
    )
    for differentiate in refused:
        with pytest.raises(CheckFailed, match="automatic differentiation was used"):
            checks.by_arithmetic(differentiate, x)
    with pytest.raises(NotImplementedError):
        checks.by_arithmetic(lambda x: (_ for _ in ()).throw(NotImplementedError("a blank")), x)


def test_solvers_of_the_library_are_refused_under_any_name():
    x, another_name = real([1.0]), METHODS["euler"].step
    with checks.without_solvers():
        by_hand = x + 0.1 * x
        checks.close(by_hand, real([1.1]), what="a step by hand")
    before = sys.getprofile()
    for call in (
        lambda: solve(lambda t, x: x, x, [0.0, 0.1], method="euler"),
        lambda: another_name(lambda t, x: x, 0.0, x, 0.1),
    ):
        with pytest.raises(CheckFailed, match="a solver or a step of the library was called"), checks.without_solvers():
            call()
        assert sys.getprofile() is before
        call()


def test_rows_that_hang_together_are_found():
    x = real([[0.1, 2.0], [-1.0, 0.5], [3.0, 1.0]])
    checks.rowwise(lambda x: x * x.norm(dim=1, keepdim=True), x, what="the velocity")
    together = (
        lambda x: x - x.mean(0),
        lambda x: x * torch.arange(1.0, len(x) + 1, dtype=x.dtype)[:, None],
        lambda x: x / len(x),
    )
    for f in together:
        with pytest.raises(CheckFailed, match="the velocity: that of a sample changes with the other samples"):
            checks.rowwise(f, x, what="the velocity")
    with pytest.raises(CheckFailed, match=r"expected shape \(3, 2\)"):
        checks.rowwise(lambda x: x[:, :1], x, what="the velocity")
