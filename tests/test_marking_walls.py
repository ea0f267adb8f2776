"""What a notebook can reach from behind the walls: nothing of the machine, of the examiner, or of the one before it."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import marking_tools as tools
import psutil
import pytest

from course_lib.marking import limits, sandbox
from course_lib.marking.examiner import Examination
from course_lib.marking.processes import end
from course_lib.marking.walled import Cold, Warm

pytestmark = pytest.mark.skipif(not tools.WALLS, reason="bubblewrap does not run here")

ATTEMPT = """
import os, socket, sys
from pathlib import Path
def attempt(f):
    try:
        return "done: " + str(f())[:60]
    except OSError as error:
        return type(error).__name__
"""


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    return tools.assignment(tmp_path_factory.mktemp("source"))


@pytest.fixture(params=["cold", "warm"])
def kind(request):
    """Both ways to start a student's process."""
    if request.param == "cold":
        return Cold([], unsafe=False)
    if not isinstance(tools.kind(), Warm):
        pytest.skip("no namespaces within the sandbox")
    return tools.kind()


def found(kind, assignment, folder: Path, code: str, *names: str) -> list:
    """What a notebook of these lines finds, by name."""
    examination = Examination(assignment, tools.LIMITS, folder, kind)
    try:
        assert examination.run(ATTEMPT + code) == ("", "")
        return [examination.answer(name) for name in names]
    finally:
        examination.stop()


def test_nothing_but_its_own_folder_can_be_seen_or_written_and_no_network_reached(kind, assignment, tmp_path):
    secret, solution = tmp_path / "other.txt", tmp_path / "tiny.ipynb"
    for path in (secret, solution):
        path.write_text("not for you")
    seen, free, full, memory = found(kind, assignment, tmp_path, f"""
import course_lib
seen = [
    attempt(lambda: open({str(secret)!r}).read()),
    attempt(lambda: open({str(solution)!r}).read()),
    attempt(lambda: list(Path({str(tmp_path)!r}).iterdir())),
    attempt(lambda: open("/etc/passwd").read()),
    attempt(lambda: open({str(tmp_path / "mine.txt")!r}, "w").write("x")),
    *[attempt(lambda: open(p, "a").close()) for p in (course_lib.__file__, sys.executable, "/usr/x", "/x", "/dev/x")],
    *[attempt(lambda: open("/proc/sys/" + p, "a").close()) for p in ("kernel/core_pattern", "vm/swappiness")],
    attempt(lambda: open("/proc/self/oom_score_adj", "a").close()),
    attempt(lambda: socket.create_connection(("1.1.1.1", 53), timeout=1)),
    attempt(lambda: socket.create_connection(("127.0.0.1", 22), timeout=1)),
]
free = attempt(lambda: open("notes.txt", "w").write("mine"))
full = attempt(lambda: [open(f"big{{k}}", "wb").write(bytes(2**24)) for k in range(20)])
memory = attempt(lambda: [open(f"/dev/shm/big{{k}}", "wb").write(bytes(2**24)) for k in range(20)])
""", "seen", "free", "full", "memory")  # fmt: skip
    assert not any(text.startswith("done") for text in seen), seen
    assert free == "done: 4" and full == memory == "OSError"
    assert not (tmp_path / "mine.txt").exists()


def test_no_process_of_others_no_variable_no_file_and_no_power_comes_with_it(kind, assignment, tmp_path, monkeypatch):
    """Neither in its own process nor in those that it sees in /proc, bubblewrap's among them."""
    monkeypatch.setenv("COURSE_TOKEN", "swordfish")
    secrets, others, files, power, spaces = found(kind, assignment, tmp_path, """
import ctypes
others = [p for p in os.listdir("/proc") if p.isdigit()]
def read(path):
    try:
        return open(path, "rb").read()
    except OSError:
        return b""
secrets = [p for p in others if b"swordfish" in read(f"/proc/{p}/environ") + read(f"/proc/{p}/cmdline")]
secrets += [k for k in os.environ if k.endswith(("TOKEN", "KEY"))]
files = []
for fd in os.listdir("/proc/self/fd"):
    try:
        files.append(os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
    except OSError:
        pass  # the folder itself, closed again
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
power = [status[k].strip() for k in ("CapEff", "CapPrm", "NoNewPrivs")]
spaces = ctypes.CDLL(None).unshare(0x10000000)
""", "secrets", "others", "files", "power", "spaces")  # fmt: skip
    assert not secrets and len(others) <= 5
    assert sorted(files) == ["/dev/null", "pipe", "pipe", "socket"]
    assert [int(p, 16) for p in power] == [0, 0, 1]
    assert spaces == (-1 if sandbox.tight() or isinstance(kind, Warm) else 0)


def test_a_notebook_finds_nothing_of_the_one_before(kind, assignment, tmp_path):
    """Files, shared memory, processes and patches go with the copy that made them; nobody can reach the original."""
    original = kind.process.pid if isinstance(kind, Warm) else None
    found(kind, assignment, tmp_path, """
import ctypes, signal, subprocess, tempfile, torch
for p in [p for p in os.listdir("/proc") if p.isdigit() and p != os.readlink("/proc/self")]:
    held = attempt(lambda: open(f"/proc/{p}/mem", "rb", 0).close())
    own = attempt(lambda: os.readlink(f"/proc/{p}/ns/user")) == "done: " + os.readlink("/proc/self/ns/user")
    assert own or held == "PermissionError", (p, held)
for place in (os.environ["HOME"], "/dev/shm", tempfile.gettempdir()):
    Path(place, "left.txt").write_text("behind")
ctypes.CDLL(None).shmget(4711, 4096, 0o1666)
subprocess.Popen(["sleep", "1000"], start_new_session=True)
torch.sin = torch.cos
ignored = signal.signal(signal.SIGTERM, signal.SIG_IGN)
for p in range(1, 99):
    if p != os.getpid():
        attempt(lambda: os.kill(p, signal.SIGKILL))
""")  # fmt: skip
    left, shared, asleep, patched = found(kind, assignment, tmp_path, """
import ctypes, tempfile, torch
left = [p.name for place in (".", "/dev/shm", tempfile.gettempdir()) for p in Path(place).glob("left*")]
shared = ctypes.CDLL(None).shmget(4711, 4096, 0)
lines = [attempt(lambda: open(f"/proc/{p}/cmdline").read()) for p in os.listdir("/proc") if p.isdigit()]
asleep = [line for line in lines if "sleep" in line]
patched = torch.sin is torch.cos
""", "left", "shared", "asleep", "patched")  # fmt: skip
    assert (left, shared, asleep, patched) == ([], -1, [], False)
    assert original is None or (kind.process.pid == original and kind.process.poll() is None)


def test_a_notebook_has_its_limits_and_cannot_raise_them(kind, assignment, tmp_path):
    held, raised = found(kind, assignment, tmp_path, """
import resource
kinds = [getattr(resource, "RLIMIT_" + name) for name in ("CPU", "AS", "FSIZE", "NOFILE", "CORE")]
held, raised = [resource.getrlimit(kind) for kind in kinds], []
for kind in kinds:
    try:
        resource.setrlimit(kind, (2**40, 2**40))
        raised.append(kind)
    except (ValueError, OSError):
        pass
""", "held", "raised")  # fmt: skip
    values = (tools.LIMITS.total, tools.LIMITS.memory, limits.FILE, limits.OPEN_FILES, 0)
    assert held == [(value, value) for value in values] and raised == []


def test_random_numbers_are_not_those_of_the_notebook_before(kind, assignment, tmp_path):
    draw = "import random, numpy\ndrawn = [random.random(), float(numpy.random.rand())]"
    (first,), (second,) = (found(kind, assignment, tmp_path, draw, "drawn") for _ in range(2))
    assert first[0] != second[0] and first[1] != second[1]


def test_where_the_warm_python_has_ended_a_cold_one_does(assignment, tmp_path):
    warm = Warm([], [])
    end(warm.process.pid)
    warm.process.wait()
    assert found(warm, assignment, tmp_path, "x = 1", "x") == [1]
    warm.orders.close()


def test_an_environment_behind_a_link_is_found(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "module.py").write_text("x = 41\n")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there")
    places = [*sandbox.visible(), link, link / "module.py"]
    monkeypatch.setattr(sandbox, "visible", lambda: places)
    read = [*sandbox.walls([]), sys.executable, "-c", f"print(open({str(link / 'module.py')!r}).read())"]
    assert subprocess.run(read, capture_output=True, text=True).stdout.strip() == "x = 41"


def test_the_walls_are_read_only_without_network_and_hide_what_lies_within_reach(tmp_path):
    for nested in (False, True):
        line = sandbox.walls([sandbox.LIBRARY / "checks", tmp_path], nested=nested)
        assert line[0] == "bwrap" and {"--unshare-all", "--die-with-parent", "--clearenv", "--new-session"} <= set(line)
        assert line[line.index("--cap-drop") + 1] == "ALL"
        assert not {"--bind", "--dev-bind", "--share-net"} & set(line)
        assert line[line.index(str(sandbox.LIBRARY / "checks")) - 1] == "--tmpfs"
        assert str(tmp_path) not in line and str(sandbox.LIBRARY.parent) not in line[: line.index("--setenv")]


def test_a_fork_bomb_is_ended_with_everything_that_it_started(kind, assignment, tmp_path):
    examination = Examination(assignment, replace(tools.LIMITS, processes=64), tmp_path, kind)
    try:
        named = "import ctypes, os\ndone = ctypes.CDLL(None).prctl(15, b'forkbomb', 0, 0, 0)"
        assert examination.run(named) == ("", "")
        assert "forkbomb" in {p.info["name"] for p in psutil.process_iter(["name"])}
        started = time.monotonic()
        examination.run("while True:\n    os.fork()")
        assert time.monotonic() - started < 30  # on a busy machine; a second otherwise
        assert examination.run("kept = 1")[1] == "" and examination.answer("kept") == 1
    finally:
        examination.stop()
    until = time.monotonic() + 10
    while left := [p.pid for p in psutil.process_iter(["name"]) if p.info["name"] == "forkbomb"]:
        assert time.monotonic() < until, left
        time.sleep(0.2)
