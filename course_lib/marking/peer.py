"""Calls between the two processes, in both directions and nested, through which gradients flow.

One side asks and waits; while it waits it answers what the other side asks, so that a field handed to an answer is
evaluated where it lives. A tensor that needs a gradient keeps it: each side holds its own part of the graph, and
``Link`` joins the parts, for ``torch.func`` too.
"""

from __future__ import annotations

import builtins
import secrets
import traceback

import torch
from torch import Tensor

from .link import Call, Link, transforming
from .shelf import Shelf
from .theirs import DUNDERS
from .values import Packer, Unpacker, from_bytes, to_bytes
from .wire import Gone, Wire

ERRORS = {name: kind for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}
ERRORS |= {"StopAsyncIteration": RuntimeError, "LinAlgError": RuntimeError}


class Peer:
    """One of the two processes; ``trusted`` is the examiner's, which takes nothing on trust."""

    def __init__(self, wire: Wire, *, trusted: bool, classes: dict[str, type]) -> None:
        self.wire, self.trusted = wire, trusted
        self.shelf = Shelf(self, classes)
        self.numbers = iter(range(1, 2**62))
        self.graphs: dict[int, tuple[list, list]] = {}  # of each differentiable call: its inputs and its results
        self.done: list[int] = []  # calls whose graph the other side may forget
        self.random = b""
        self.operations: dict = {}  # further requests that this side answers: name to function(message, value)

    def call(self, f: object, args: tuple, kwargs: dict) -> object:
        return self.ask({"op": "call", "f": f, "args": args, "kwargs": kwargs})

    def ask(self, request: dict) -> object:
        """The answer to a request, whose values are packed here."""
        packer = Packer(self)
        tree = {k: v if k in ("op", "name") else packer.tree(v) for k, v in request.items()}
        shared = self.shelf.parameters()
        tensors = packer.tensors
        active = any(t.requires_grad for t in (*tensors, *(p for _, p in shared)))
        return self.perform(tree, tensors, shared, need=torch.is_grad_enabled() and active)

    def perform(self, tree: dict, tensors: list[Tensor], inputs: list[tuple], *, need: bool) -> object:
        """Send a packed request; join its graph to ours where a gradient may be asked for."""
        tree = tree | {"leaf": [[t.requires_grad, t.is_leaf] for t in tensors]}
        call = Call(self, tree, tensors, inputs, need)
        if need or transforming():
            results = Link.apply(call, *tensors, *(t for _, t in inputs))[:-1]
        else:
            results = call.perform(tuple(tensors))
        if tree["op"] == "vjp":
            return [None if k is None else results[k] for k in call.tree]
        return Unpacker(self, list(results)).value(call.tree)

    def clear(self) -> None:
        """Forget what has been lent and borrowed here and there; Gone if anything is under way that was not asked.

        The reply must repeat a word that nobody could know before, so that replies sent ahead come out.
        """
        word = secrets.token_hex(8)
        if self.perform({"op": "clear", "name": word}, [], [], need=False) != word:
            raise Gone("the process answers what it was not asked")
        self.forget()

    def forget(self) -> None:
        self.shelf.clear()
        self.graphs.clear()
        self.done.clear()

    def exchange(self, request: dict, tensors: list[Tensor]) -> tuple[object, list[Tensor], list]:
        """Send a request and answer what comes until its reply does."""
        self.post(request, tensors)
        while True:
            message, arrived = self.receive()
            if message.get("to", request["id"]) != request["id"]:
                raise Gone("the process answers what it was not asked")
            flags, said = message.get("flags"), message.get("error")
            if "reply" in message and isinstance(flags, list) and len(flags) <= len(arrived):
                return message["reply"], arrived[: len(flags)], flags
            if isinstance(said, list) and len(said) == 3:
                raise self.error(*said)
            if "op" not in message:
                raise Gone("the process sent what is no message")
            self.answer(message, arrived)

    def post(self, message: dict, tensors: list[Tensor]) -> None:
        """Send a message with what has changed in shared parameters and in the random numbers' state."""
        packer = Packer(self)
        packer.tensors = list(tensors)
        message = message | {"news": self.shelf.changes(packer), "done": self.done}
        self.done = []
        if self.trusted and (state := torch.get_rng_state().numpy().tobytes()) != self.random:
            self.random, message["random"] = state, packer.tensor(torch.get_rng_state())
        forms = [[str(t.dtype)[6:], list(t.shape)] for t in packer.tensors]
        self.wire.send(message | {"forms": forms}, [to_bytes(t) for t in packer.tensors])

    def receive(self) -> tuple[dict, list[Tensor]]:
        message, buffers = self.wire.receive()
        try:
            tensors = [from_bytes(form, data) for form, data in zip(message["forms"], buffers, strict=True)]
            self.shelf.apply(message["news"], Unpacker(self, tensors))
            for number in message["done"]:
                self.graphs.pop(number, None)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
            raise Gone(f"the process sent what is no value ({type(error).__name__}: {error})"[:300]) from error
        if not self.trusted and "random" in message:
            torch.set_rng_state(tensors[message["random"]])
        return message, tensors

    def answer(self, message: dict, tensors: list[Tensor]) -> None:
        """Do what the other side asks for and reply with the result or the error."""
        try:
            packer = Packer(self)
            if message["op"] == "vjp":
                found, inputs = self.vjp(message, tensors)
                tree = [None if t is None else packer.tensor(t) for t in found]
            else:
                result, inputs = self.do(message, tensors)
                tree = packer.tree(result)
            flags = [bool(message["need"] and t.requires_grad) for t in packer.tensors]
            if any(flags):
                self.graphs[message["id"]] = inputs, [t for t, flag in zip(packer.tensors, flags, strict=True) if flag]
            self.post({"reply": tree, "flags": flags, "to": message["id"]}, packer.tensors)
        except Gone:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if self.trusted and not isinstance(error, Exception):
                raise
            said = [type(error).__name__, str(error)[:2000], self.place(error)]
            self.post({"error": said, "to": message.get("id")}, [])

    def vjp(self, message: dict, tensors: list[Tensor]) -> tuple[list, list]:
        """Gradients of an earlier call's inputs, from those of its results; and what these depend on in turn."""
        inputs, results = self.graphs[message["of"]]
        need = bool(message["need"])
        grads = [t.requires_grad_(need) for t in tensors[: len(results)]]
        wanted = [t for t in inputs if t.requires_grad]
        with torch.set_grad_enabled(need):
            some = torch.autograd.grad(
                results, wanted, grads, create_graph=need, retain_graph=True, allow_unused=True
            )
        found = dict(zip(map(id, wanted), some, strict=True))
        return [found.get(id(t)) for t in inputs], [*grads, *inputs]

    def do(self, message: dict, tensors: list[Tensor]) -> tuple[object, list]:
        """The result of a request, and the tensors that it may be differentiated by."""
        op = message["op"]
        leaves = tensors[: len(message["leaf"])]
        given = list(tensors)
        for k, (wants, leaf) in enumerate(message["leaf"]):
            if wants and tensors[k].is_floating_point():
                tensors[k].requires_grad_()
                given[k] = tensors[k] if leaf else tensors[k].view_as(tensors[k])
        reader = Unpacker(self, given)
        with torch.set_grad_enabled(bool(message["grad"])):
            value = lambda key: reader.value(message[key])  # noqa: E731
            if op == "call":
                result = value("f")(*value("args"), **value("kwargs"))
            elif op == "attribute":
                of, name = value("of"), message["name"]
                if name not in DUNDERS and (name.startswith("_") or (self.trusted and not self.open(of))):
                    raise AttributeError(f"{name} is not handed over.")
                result = getattr(of, name)
            elif op == "set" and not self.trusted:
                result = setattr(value("of"), message["name"], value("value"))
            elif op in self.operations:
                result = self.operations[op](message, value)
            else:
                raise AttributeError("only the checks may do this.")
            inputs = leaves + [self.shelf.resolve("P", key, reader) for key in message["inputs"]]
        return result, inputs

    @staticmethod
    def open(value: object) -> bool:
        """Whether the student may look into an object of the checks: not into Python's own, such as a generator's
        frame or a module, from which one gets everywhere."""
        return type(value).__module__.split(".")[0] in ("course_lib", "__main__")

    def error(self, kind: str, text: str, place: str) -> Exception:
        """An error of the other side as one of Python's own kinds."""
        error = ERRORS.get(str(kind), RuntimeError)
        try:
            error = error(str(text))
        except TypeError:  # such as UnicodeDecodeError, which wants more
            error = RuntimeError(str(text))
        error.kind, error.place = str(kind)[:60], str(place)[:300]
        return error

    def place(self, error: BaseException) -> str:
        """Where an error arose in the notebook's own code."""
        if "place" in vars(error):
            return error.place
        own = [f for f in traceback.extract_tb(error.__traceback__) if self.is_own(f.filename)]
        return f", near line {own[-1].lineno} of {own[-1].name}: {own[-1].line}" if own and own[-1].line else ""

    def is_own(self, filename: str) -> bool:
        return "ipython-input" in filename or filename.startswith("<")
