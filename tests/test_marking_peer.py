"""Two processes as two threads: values, gradients and modules cross over, and the student's side can name nothing."""

from __future__ import annotations

import math
import os
import socket
import threading

import pytest
import torch
from torch import nn

from course_lib.checks import SkewTanh
from course_lib.marking import functions
from course_lib.marking.peer import Peer
from course_lib.marking.wire import HEAD, TEXT, Gone, Wire


class Scaled(nn.Module):
    """A module of the checks' own."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.w * x


class Own(nn.Module):
    """A module of the student's own, with a layer below."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.count = 0

    def forward(self, x):
        self.count += 1
        return self.layer(x).tanh()


@pytest.fixture
def peers():
    """An examiner and a function that puts a value on the student's side, as the examiner gets it."""
    ours, theirs = socket.socketpair()
    space: dict = {"Scaled": Scaled}
    student = Peer(Wire(theirs), trusted=False, classes=space)
    student.operations["get"] = lambda message, value: space[message["name"]]
    student.operations["clear"] = lambda message, value: (student.forget(), message["name"])[1]

    def serve():
        try:
            while True:
                student.answer(*student.receive())
        except Gone:
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    examiner = Peer(Wire(ours), trusted=True, classes={"Scaled": Scaled})

    def put(value):
        space["value"] = value
        return examiner.ask({"op": "get", "name": "value"})

    yield examiner, put
    ours.close()
    thread.join(5)


VALUES = [
    None, True, 3, -(2**80), 2.5, float("inf"), 1j, "θ", (1, [2, {"a": (3,)}]), {1, 2}, range(3), slice(1, None),
    torch.float64, torch.tensor(1.5, dtype=torch.float64), torch.zeros(0, 3), torch.arange(6).reshape(2, 3).T,
    torch.tensor([True]), torch.tensor([1 + 2j]), torch.tensor([1.5], dtype=torch.bfloat16),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda v: str(v)[:20])
def test_plain_values_come_back_as_they_went(peers, value):
    _, put = peers
    found = put(lambda x: x)(value)
    assert type(found) is type(value)
    if isinstance(value, torch.Tensor):
        assert found.dtype == value.dtype and torch.equal(found, value)
    else:
        assert found == value
    assert math.isnan(put(float("nan")))


def test_a_field_that_counts_is_called_where_it_is_and_a_plain_one_travels(peers):
    _, put = peers
    calls = []

    def counting(x):
        calls.append(x)
        return 2 * x

    plain = lambda x: torch.sin(x) * math.pi  # noqa: E731
    apply = put(lambda f, x: f(f(x)))
    assert apply(counting, 3) == 12 and calls == [3, 6]
    assert not functions.plain(counting, {}) and functions.plain(plain, {})
    x = torch.tensor(0.3)
    assert torch.equal(apply(plain, x), plain(plain(x)))
    F = SkewTanh(3, 1.0)
    y = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(put(lambda F, y: F(y) + F.jacobian(y).sum(-1))(F, y), F(y) + F.jacobian(y).sum(-1))
    assert F.calls == 4
    with pytest.raises(AttributeError):
        put(lambda F: setattr(F, "calls", 0))(F)


HELD = torch.zeros(1)


def stores(x):
    HELD[0] = x
    return x


def adds(x):
    HELD.add_(x)
    return x


def remembers(x):
    global LAST
    LAST = x
    return x


@pytest.mark.parametrize("f", [stores, adds, remembers])
def test_a_function_that_changes_what_lies_outside_stays_where_it_is(f):
    assert not functions.plain(f, {}) and functions.plain(lambda x: x + HELD, {})


def test_gradients_cross_over_and_back(peers):
    """Against autograd in one piece: through an answer, and through a field that the answer calls."""
    _, put = peers
    weight = torch.tensor([0.5, -1.0], dtype=torch.float64, requires_grad=True)
    seen = []

    def field(w, x):
        seen.append(1)
        return (w * x).tanh()

    def answer(f, w, x):
        return x + 0.1 * f(w, x) ** 2

    x = torch.tensor([0.3, 2.0], dtype=torch.float64, requires_grad=True)
    for wanted in ((x, weight), (weight,), (x,)):
        there = torch.autograd.grad(put(answer)(field, weight, x).sin().sum(), wanted)
        torch.testing.assert_close(there, torch.autograd.grad(answer(field, weight, x).sin().sum(), wanted))
    put(answer)(field, weight, x).sum().backward()
    torch.testing.assert_close(weight.grad, torch.autograd.grad(answer(field, weight, x).sum(), weight)[0])
    assert len(seen) == 8


def test_second_derivatives_and_torch_func(peers):
    _, put = peers
    cube = put(lambda x: (x**3).sum())
    x = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(cube(x), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(second, 6 * x.detach())
    torch.testing.assert_close(torch.func.jacrev(put(lambda x: x**2))(x.detach()), torch.diag(2 * x.detach()))
    torch.testing.assert_close(torch.func.vmap(put(lambda x: x.sum() * x))(torch.ones(3, 2)), 2 * torch.ones(3, 2))
    inside = put(lambda f, x: torch.func.jacrev(f)(x))
    counted = []
    torch.testing.assert_close(inside(lambda x: (counted.append(1), x**2)[1], x.detach()), torch.diag(2 * x.detach()))


def test_a_module_of_ours_is_a_real_one_there_and_learns(peers):
    _, put = peers
    for net in (Scaled(), nn.Sequential(nn.Linear(2, 2), nn.Tanh())):
        parameters = list(net.parameters())
        x = torch.ones(1, 2)

        def gradients(net, parameters, x):
            assert isinstance(net, nn.Module)
            return list(torch.autograd.grad(net(x).sum(), parameters))

        torch.testing.assert_close(put(gradients)(net, parameters, x), gradients(net, parameters, x))

        def train(net, x):
            optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
            for _ in range(3):
                optimiser.zero_grad()
                net(x).pow(2).sum().backward()
                optimiser.step()

        before = net(x).pow(2).sum().item()
        put(train)(net, x)
        assert net(x).pow(2).sum().item() < 0.9 * before


def test_a_module_of_theirs_trains_here(peers):
    _, put = peers
    torch.manual_seed(0)
    for net in (put(Own)(), put(lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh()))()):
        assert isinstance(net, nn.Module) and len(list(net.parameters())) == 2
        x, y = torch.randn(8, 2), torch.zeros(8, 2)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
        losses = []
        for _ in range(20):
            optimiser.zero_grad()
            loss = (net(x) - y).pow(2).mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.3 * losses[0]
    assert put(Own())(x) is not None


def test_errors_keep_their_kind_and_place(peers):
    _, put = peers

    def stops():
        raise ValueError("no root in [0, 1]")

    with pytest.raises(ValueError, match="no root"):
        put(stops)()
    with pytest.raises(NotImplementedError):
        put(lambda: (_ for _ in ()).throw(NotImplementedError("x")))()
    with pytest.raises(RuntimeError):
        put(lambda: exit(3))()

    def fails(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        put(lambda f: f(1))(fails)


def test_the_student_can_name_no_function_of_the_examiners(peers):
    """Whatever the tree of a message holds, nothing of Python's own comes out of it on the trusted side."""
    examiner, put = peers
    from course_lib.marking.values import Packer, Unpacker

    reader = Unpacker(examiner, [])
    well_formed = functions.pack(lambda x: x, Packer(examiner))
    for tree in (
        {"name": ["os", "system"]}, {"name": ["torch", "load"]}, well_formed, {"x": 1},
        {"copy": [90, ["os", "system"], {}, {}, {}, {}, True]}, {"copy": [91, ["", "Scaled"], {}, {}, {}, {}, True]},
        {"copy": [92, ["torch", "load"], {}, {}, {}, {}, True]},
        {"copy": [94, ["torch.fx.graph_module", "GraphModule"], {}, {}, {}, {}, True]},
        {"copy": [95, ["torch.jit._script", "ScriptModule"], {}, {}, {}, {}, True]},
        {"copy": [93, ["torch.nn.modules.linear", "Linear"], {}, {}, {}, {"__class__": 1}, True]},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"cannot be handed over|unknown kind of|module with an attribute"):
            reader.value(tree)
    for tree in ({"T": 7}, {"mine": 10**9}, {"yours": 10**9}, [1], {"a": 1, "b": 2}):
        with pytest.raises((ValueError, KeyError, IndexError)):
            reader.value(tree)
    secret = put(lambda f: f.__globals__)
    with pytest.raises(AttributeError):
        secret(lambda x, held=[]: held)
    with pytest.raises(ValueError, match="too large"):
        put(lambda: "x" * TEXT)()


def test_the_student_looks_into_the_checks_own_objects_and_no_further(peers):
    """From a generator's frame or from a module one would get at the hidden tests, and at everything else."""
    _, put = peers
    numbers = (n for n in (1, 2))
    for attack in (lambda g: g.gi_frame.f_back.f_globals, lambda g: g.gi_code, lambda g: g.throw(ValueError)):
        with pytest.raises(AttributeError, match="not handed over"):
            put(attack)(numbers)
    with pytest.raises(AttributeError, match="not handed over"):
        put(lambda m: m.system("true"))(os)
    assert put(lambda g: [n for n in g])(numbers) == [1, 2]
    assert put(lambda F: F.calls)(SkewTanh(3, 1.0)) == 0


def test_a_message_that_is_none_ends_the_talk():
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    examiner, wire = Peer(Wire(ours), trusted=True, classes={}), Wire(theirs)
    plain = {"forms": [], "news": [], "done": []}
    for message in (
        {}, plain, plain | {"reply": 1}, plain | {"reply": 1, "flags": [True]}, plain | {"error": "x"},
        plain | {"error": ["x"]}, plain | {"reply": 1, "flags": [], "to": 7000}, plain | {"forms": [["float32", [2]]]},
        plain | {"news": [3]}, plain | {"done": 5}, {"forms": 1},
    ):  # fmt: skip
        wire.send(message, [])
        with pytest.raises(Gone):
            examiner.ask({"op": "get", "name": "x"})
    wire.send(plain | {"reply": "a guess", "flags": []}, [])  # sent ahead, before anybody has asked
    with pytest.raises(Gone, match="answers what it was not asked"):
        examiner.clear()
    theirs.sendall(HEAD.pack(TEXT + 1, 0))
    with pytest.raises(Gone, match="too large"):
        examiner.ask({"op": "get", "name": "x"})
    ours.close(), theirs.close()
