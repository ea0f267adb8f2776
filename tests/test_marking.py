"""Marking: honest notebooks get what they deserve, hostile ones nothing more, and none touches another."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace

import marking_tools as tools
import nbformat
import pytest
import torch

from course_lib.marking import __main__ as command
from course_lib.marking import one, restore, run, sandbox
from course_lib.marking.examiner import Examination, examine
from course_lib.marking.sandbox import Limits
from course_lib.marking.walled import Walled

RIGHT = tools.RIGHT


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    return folder, tools.assignment(folder)


def test_honest_answers_pass_and_an_untouched_notebook_has_none(source, tmp_path):
    folder, assignment = source
    assert tools.marked(tools.notebook(folder, RIGHT), assignment, tmp_path) == {"twice": "", "half": "", "slope": ""}
    untouched = tools.marked(tools.notebook(folder, {}), assignment, tmp_path)
    assert set(untouched.values()) == {"Not answered yet."}


def test_right_answers_written_otherwise_pass_and_wrong_ones_are_told_why(source, tmp_path):
    folder, assignment = source
    other = {"twice": "return x + x", "half": "return 0.5 * helper(f, x)", "slope": "return functional(x)"}
    helpers = ("import numpy as np\nfunctional = lambda x: (np.pi / 2 - x).cos().sum()", "%matplotlib inline")
    nb = tools.notebook(folder, other, *helpers)
    nb.cells.insert(-1, nbformat.v4.new_code_cell("def helper(f, x): return f(x)"))  # late, but before the last check
    said = tools.marked(nb, assignment, tmp_path)
    assert said["twice"] == said["slope"] == "" and "name 'helper' is not defined" in said["half"]
    wrong = {"twice": "return {4.0: 1}", "half": "return f(x) / 2 + 0 * f(x)", "slope": "return y"}
    said = tools.marked(tools.notebook(folder, wrong), assignment, tmp_path)
    assert "expected a tensor, got dict" in said["twice"] and "2 calls of the field" in said["half"]
    assert "NameError: name 'y' is not defined, near line 2 of slope: return y" in said["slope"]


FORGERIES = (
    "from course_lib import checks\nfor name in dir(checks):\n"
    "    if name[0] != '_': setattr(checks, name, lambda *a, **k: True)",
    "from contextlib import nullcontext\nscore.check = lambda *a: nullcontext()\nscore.earned = dict(score.points)",
    "import builtins, torch\nbuiltins.AssertionError = ValueError\n"
    "torch.allclose = torch.equal = lambda *a, **k: True",
    "print('twice, 2 marks: these checks passed')\nimport sys; sys.modules['course_lib.checks'] = None",
    "class Liar(float):\n    __eq__ = __le__ = __ge__ = lambda *a: True\n    __sub__ = __rsub__ = lambda *a: Liar(0)",
)


def test_forged_marks_count_for_nothing(source, tmp_path):
    """Patched checks, a patched score, printed marks, forged outputs, objects that equal everything."""
    folder, assignment = source
    nb = tools.notebook(folder, {"half": "return Liar(9.0)"}, *FORGERIES)
    for cell in nb.cells:
        if cell.id.endswith("-check"):
            cell.source, cell.execution_count = "assert True", 1
            cell.outputs = [nbformat.v4.new_output("stream", text="these checks passed")]
    said = tools.marked(nb, assignment, tmp_path)
    assert said["twice"] == said["slope"] == "Not answered yet."
    assert "expected 1.5, got 9" in said["half"]


def test_the_channel_carries_answers_and_no_marks(source, tmp_path):
    """A notebook that writes into the socket itself can answer wrongly or end its process, and no more."""
    folder, assignment = source
    forge = """
import os, json, struct
def forge(message):
    text = json.dumps([message, []]).encode()
    for fd in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket"):
                os.write(fd, struct.pack("<II", len(text), 0) + text)
        except OSError:
            pass
"""
    lies = {
        "twice": "forge({'reply': {'name': ['os', 'system']}, 'flags': [], 'forms': [], 'news': [], 'done': []}); "
        "return 2 * x",
        "half": "forge({'op': 'attribute', 'name': '__globals__', 'of': {'yours': 0}, 'id': 1, 'need': False, 'grad': "
        "False, 'leaf': [], 'inputs': [], 'forms': [], 'news': [], 'done': []}); forge({}); return f(x) / 2",
        "slope": RIGHT["slope"],
    }
    said = tools.marked(tools.notebook(folder, lies, forge), assignment, tmp_path)
    assert said["twice"].startswith("Not yet:") and said["half"].startswith("Not yet:") and said["slope"] == ""


ENDINGS = {
    "leaves": ("__import__('os')._exit(0)", "ended the process"),
    "asks to leave": ("raise SystemExit", "SystemExit"),
    "never ends": ("\n    while True: pass", "did not end within 6 seconds"),
    "takes all memory": ("\n    held = [bytearray(2**28) for _ in range(10**6)]", "MemoryError"),
    "takes all memory in torch": ("torch.ones(2**40)", "RuntimeError"),
    "prints without end": ("\n    while True: print('x' * 1000)", "printed more than 1 MiB"),
    "takes memory in many processes": (
        "import os, time\n    [os.fork() or (bytearray(2**28), time.sleep(9)) for _ in range(6)]\n    time.sleep(9)",
        "too much memory",
    ),
    "forks": (
        "import os, time\n    [os.fork() or time.sleep(20) for _ in range(40)]\n    time.sleep(9)",
        "more than 12 processes|BlockingIOError",  # the kernel says the latter, to all but root
    ),
    "is a fork bomb": ("import os\n    while True:\n        os.fork()", "processes|BlockingIOError|ended the process"),
    "goes too deep": ("return half(f, x)", "RecursionError"),
    "breaks the call": ("import signal, os; os.kill(os.getpid(), 9)", "ended the process"),
}


def test_what_an_answer_leaves_running_is_gone_before_the_next_cell(source, tmp_path):
    folder, assignment = source
    leaves = "import subprocess; [subprocess.Popen(['sleep', '99']) for _ in range(8)]; return f(x) / 2"
    counts = "import os; return x.sin().sum() * (1 if b'sleep' not in b''.join(open(f'/proc/{p}/cmdline', 'rb').read()"
    counts += " for p in os.listdir('/proc') if p.isdigit()) else 2)"
    nb = tools.notebook(folder, RIGHT | {"half": leaves, "slope": counts})
    assert set(tools.marked(nb, assignment, tmp_path).values()) == {""}


def test_an_answer_that_forks_answers_once(source, tmp_path):
    folder, assignment = source
    forks = {"half": "import os; os.fork(); return f(x) / 2", "slope": "import os; os.fork(); return x.sin().sum()"}
    assert set(tools.marked(tools.notebook(folder, RIGHT | forks), assignment, tmp_path).values()) == {""}


@pytest.mark.parametrize("late", [0, 0.5])
def test_what_an_answer_prints_under_a_check_is_shown_to_nobody(late, source, tmp_path, monkeypatch):
    folder, assignment = source
    listen = Walled.listen  # on a busy machine its thread comes late, and what was printed waits in the pipe
    monkeypatch.setattr(Walled, "listen", lambda self: (time.sleep(late), listen(self)))
    shown = RIGHT | {"twice": "print('called with', x); return 2 * x"}
    nb = tools.notebook(folder, shown, after=("print('mine')", "print('x' * 30_000)"))
    examination = Examination(assignment, tools.LIMITS, tmp_path, tools.kind())
    try:
        said = examine(nb, examination)
    finally:
        examination.stop()
    assert "holds: the secret number" in said["twice"][0]
    assert "called with" not in nbformat.writes(nb).replace("print('called with'", "") + repr(said)
    assert nb.cells[-2].outputs[0].text == "mine\n" and nb.cells[-1].outputs[0].text == 20_000 * "x"


def test_random_numbers_of_a_check_are_the_same_each_time_and_so_are_the_answers_own(source, tmp_path):
    _, assignment = source
    cells = [nbformat.from_dict(cell) for cell in assignment.cells]
    for cell in cells:
        if restore.grade_id(cell) == "twice-check":
            cell.source = "print(torch.rand(2).tolist(), twice().tolist())"
    examination = Examination(replace(assignment, cells=tuple(cells)), tools.LIMITS, tmp_path, tools.kind())
    try:
        examination.run("import torch\ndef twice():\n    return torch.rand(2)")
        first, again = (examination.check("twice-check") for _ in range(2))
    finally:
        examination.stop()
    torch.manual_seed(0)
    assert first == again == (f"{torch.rand(2).tolist()} {torch.rand(2).tolist()}\n", "")


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_answer_that_ends_its_process_costs_its_own_marks_alone(source, tmp_path, ending):
    folder, assignment = source
    code, words = ENDINGS[ending]
    limits = tools.LIMITS if ending == "never ends" else replace(tools.LIMITS, cell=40)  # a busy machine fills slowly
    started = time.monotonic()
    said = tools.marked(tools.notebook(folder, RIGHT | {"half": code}), assignment, tmp_path, limits)
    assert re.search(words, said["half"]), said["half"]
    assert said["twice"] == said["slope"] == ""
    assert time.monotonic() - started < 80


LEAVING = ("import sys; sys.exit()", "exit()", "quit(0)", "raise KeyboardInterrupt", "os._exit(0)", "os.abort()")


@pytest.mark.parametrize("code", LEAVING)
def test_a_cell_that_leaves_changes_no_mark(source, tmp_path, code):
    folder, assignment = source
    assert set(tools.marked(tools.notebook(folder, RIGHT, "import os", code), assignment, tmp_path).values()) == {""}


def test_a_cell_that_never_ends_is_left_out_and_the_time_of_a_notebook_is_bounded(source, tmp_path):
    folder, assignment = source
    said = tools.marked(tools.notebook(folder, RIGHT, "while True: pass"), assignment, tmp_path)
    assert set(said.values()) == {""}
    limits = Limits(cell=2, total=5, memory=5 * 2**28, processes=12)
    said = tools.marked(tools.notebook(folder, RIGHT, *["while True: pass"] * 9), assignment, tmp_path, limits)
    assert all("used its 5 seconds" in text for text in said.values())


def test_checks_are_put_back_whatever_happened_to_them(source, tmp_path):
    folder, assignment = source
    nb = tools.notebook(folder, RIGHT)
    where = {cell.id: k for k, cell in enumerate(nb.cells)}
    twice, half = nb.cells[where["twice-check"]], nb.cells[where["half-check"]]
    twice.source = "print('these checks passed')"  # edited
    nb.cells = [cell for cell in nb.cells if cell.id != "slope-check"]  # deleted
    nb.cells.insert(1, nb.cells.pop(where["half-check"]))  # before its blank
    nb.cells.append(nbformat.from_dict(twice | {"id": "copied"}))  # twice
    path = tmp_path / "a.ipynb"
    nbformat.write(nb, path)
    restored, notes = restore.restore(restore.load(path), assignment)
    order = [restore.grade_id(cell) for cell in restored.cells if restore.grade_id(cell)]
    assert order.index("half-check") > order.index("half") and order.index("slope-check") > order.index("slope")
    assert sorted(order) == sorted(name for ex in tools.POINTS for name in (ex, f"{ex}-check"))
    assert len(notes) == 3 and any("twice-check stands there twice" in note for note in notes)
    assert half.source != "" and set(tools.marked(nb, assignment, tmp_path).values()) == {""}


def test_lost_names_of_cells_and_a_deleted_import_are_no_harm(source, tmp_path):
    folder, assignment = source
    nb = tools.notebook(folder, RIGHT)
    for cell in nb.cells:
        cell.metadata, cell.id = nbformat.from_dict({}), f"x{id(cell)}"
    nb.cells = [cell for cell in nb.cells if not cell.source.startswith("import torch")]
    assert set(tools.marked(nb, assignment, tmp_path).values()) == {""}


REFUSED = {
    "empty": (b"", "it is empty"),
    "not JSON": (b"\x89PNG\r\n", "cut off or not JSON"),
    "truncated": (b'{"cells": [{"cell_type": "code", "sour', "cut off or not JSON"),
    "deep": (b"[" * 200_000, "cut off or not JSON"),
    "a list": (b"[1, 2]", "not a notebook"),
    "no cells": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not a notebook"),
    "strange cells": (b'{"cells": [3, null], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "not a notebook"),
    "another kernel": (
        b'{"cells": [], "metadata": {"kernelspec": {"language": "R"}}, "nbformat": 4, "nbformat_minor": 5}',
        "in R, not in Python",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_no_notebook_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "a.ipynb"
    path.write_bytes(REFUSED[kind][0])
    with pytest.raises(restore.Refused, match=REFUSED[kind][1]) as refused:
        restore.load(path)
    assert "\n" not in str(refused.value)


def test_links_large_files_and_other_assignments_are_refused(source, tmp_path, monkeypatch):
    folder, assignment = source
    link, path = tmp_path / "link.ipynb", tmp_path / "a.ipynb"
    nbformat.write(tools.notebook(folder, RIGHT), path)
    link.symlink_to(path)
    with pytest.raises(restore.Refused, match="not a regular file"):
        restore.load(link)
    nb = restore.load(path)
    other = tools.write_source(tmp_path / "other", "tiny")
    text = (other / "tiny.ipynb").read_text("utf-8")
    for name in tools.POINTS:
        text = text.replace(name, f"other_{name}")
    (other / "tiny.ipynb").write_text(text, encoding="utf-8")
    known = {"tiny": assignment, "other": tools.read(other / "tiny.ipynb")}
    assert restore.recognise(nb, known, None) is assignment
    with pytest.raises(restore.Refused, match="a notebook of tiny, handed in as other"):
        restore.recognise(nb, known, "other")
    with pytest.raises(restore.Refused, match="holds no exercise"):
        restore.recognise(nbformat.v4.new_notebook(cells=[]), known, None)
    monkeypatch.setattr(restore, "LARGEST", 100)
    with pytest.raises(restore.Refused, match="the limit is"):
        restore.load(path)


def test_without_walls_it_refuses_unless_told(tmp_path, monkeypatch, capsys):
    pytest.importorskip("nbgrader")
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    sandbox.works.cache_clear()
    try:
        assert command.main([str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "bubblewrap is not installed" in said and "--unsafe" in said and said.count("\n") == 1
        sandbox.require(unsafe=True)
    finally:
        sandbox.works.cache_clear()


@pytest.mark.parametrize("option", ["--jobs", "--seconds", "--total", "--memory"])
def test_a_limit_of_nothing_is_refused_in_one_line(tmp_path, option, capsys):
    with pytest.raises(SystemExit):
        command.main([str(tmp_path), option, "0"])
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {option[2:]}: must be more than 0.")


def test_every_file_name_is_found_and_links_lead_nowhere(tmp_path):
    folder, outside = tmp_path / "in", tmp_path / "outside"
    names = (b"\xff\xfe_tiny", b"two\nlines", b"o'k \"x\"/tiny/a b", b"eve/b/tiny", b".hidden")
    for name in names:
        path = folder / os.fsdecode(name + b".ipynb")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    outside.mkdir()
    (outside / "tiny.ipynb").write_text("{}")
    (folder / "mallory").symlink_to(outside)
    found = {s.student: s.assignment for s in run.find(folder, {"tiny": None})}
    assert found == {"??": "tiny", "two lines": None, "o'k \"x\"": "tiny", "eve": "tiny"}
    keys = {run.key(s, {}, Limits()) for s in run.find(folder, {"tiny": None})}
    assert len(keys) == 4


def test_a_record_is_of_its_file_its_checks_and_its_limits(source, tmp_path, monkeypatch):
    folder, assignment = source
    path = tmp_path / "tiny.ipynb"
    path.write_text("{}")
    handed = run.Submission("ada", "tiny", path, "tiny.ipynb")
    known, other = {"tiny": assignment}, {"tiny": replace(assignment, key="0" * 16)}
    keys = [run.key(handed, known, Limits()), run.key(handed, other, Limits()), run.key(handed, known, Limits(cell=1))]
    path.write_text("{ }")
    keys.append(run.key(handed, known, Limits()))
    assert len(set(keys)) == 4 and run.key(handed, known, Limits()) == keys[-1]
    monkeypatch.setattr(type(folder), "read_bytes", lambda self: b"the library has changed")
    assert tools.read(folder / "tiny.ipynb").key != assignment.key


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "marks.csv"
    one.write(path, "old")

    def cut(self, text, **options):
        with open(self, "w") as file:
            file.write(text[:1])
        raise OSError("no space left on device")

    monkeypatch.setattr(one.Path, "write_text", cut)
    with pytest.raises(OSError, match="no space"):
        one.write(path, "new")
    assert path.read_text() == "old"
