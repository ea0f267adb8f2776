"""What two processes share: references to each other's objects, and modules whose parameters are kept equal."""

from __future__ import annotations

from itertools import count
from types import FunctionType

import torch
from torch import Tensor, nn

from . import functions
from .theirs import TheirModule, Theirs
from .values import Packer, Unpacker, found, module_class

INTERNAL = frozenset(vars(nn.Module()))


def fresh(value: Tensor, requires_grad: object) -> nn.Parameter:
    """A parameter of its own with this value."""
    return nn.Parameter(value.detach().clone(), requires_grad=bool(requires_grad) and value.is_floating_point())


class Shelf:
    """The objects that one side has lent (``mine``) and borrowed (``yours``), by the number its owner gave."""

    def __init__(self, peer, classes: dict[str, type]) -> None:
        self.peer, self.classes = peer, classes
        self.numbers = count()
        self.mine: dict[int, object] = {}
        self.yours: dict[int, object] = {}
        self.keys: dict[int, list] = {}  # of an object, by its id: ["mine" or "yours", number]
        self.whole: set[int] = set()  # ids of the modules that did not travel: all their parameters are shared at once
        self.seen: dict[tuple, tuple] = {}  # state of a shared parameter when it was last equal on both sides

    def clear(self) -> None:
        """Forget everything, on both sides at once: the next check starts from nothing."""
        for held in (self.mine, self.yours, self.keys, self.whole, self.seen):
            held.clear()

    def reference(self, value: object, packer: Packer) -> dict:
        """The tree of an object that does not travel by value."""
        if (key := self.keys.get(id(value))) is not None:
            return {key[0]: key[1]}
        if self.peer.trusted and isinstance(value, FunctionType) and functions.plain(value, self.classes):
            return functions.pack(value, packer)
        number = next(self.numbers)
        self.mine[number] = value
        self.keys[id(value)] = ["mine", number]
        if not isinstance(value, nn.Module):
            return {"lent": [number, type(value).__name__]}
        path = module_class(value, self.classes if self.peer.trusted else {})
        held = value.named_parameters if path is None else self.own
        state = {k: [packer.tensor(p), p.requires_grad] for k, p in (held() if path is None else held(value))}
        if path is None:
            self.whole.add(id(value))
            tree = {"module": [number, state]}
        else:
            rest = {k: packer.tree(v) for k, v in vars(value).items() if k not in INTERNAL}
            below = {k: packer.tree(m) for k, m in value._modules.items()}
            buffers = {k: packer.tensor(b) for k, b in value._buffers.items() if b is not None}
            tree = {"copy": [number, path, state, buffers, below, rest, value.training]}
        self.note(["mine", number], value)
        return tree

    @staticmethod
    def own(module: nn.Module):
        """The parameters of a module itself, without those below."""
        return [(k, p) for k, p in module._parameters.items() if p is not None]

    def resolve(self, kind: str, body: object, reader: Unpacker) -> object:
        """The object of a reference that came in; what is ``mine`` there is ``yours`` here."""
        if kind == "P":
            side, number, name = body
            return dict(self.shared(self.resolve(side, number, reader)))[name]
        if kind in ("mine", "yours"):
            return self.yours[body] if kind == "mine" else self.mine[body]
        if kind == "lent":
            number, name = body
            name = name if isinstance(name, str) and name.isidentifier() else "object"
            value = type(name[:60], (Theirs,), {})(self.peer, number)
        elif kind == "module":
            number, state = body
            held = {k: fresh(reader.tensors[t], grad) for k, (t, grad) in state.items()}
            value = TheirModule(self.peer, number, held)
            self.whole.add(id(value))
        elif kind == "function" and not self.peer.trusted:
            return functions.unpack(body, reader)
        elif kind == "copy":
            number, value = body[0], self.rebuild(body, reader)
        else:
            raise ValueError(f"an unknown kind of value, {kind[:20]!r}.")
        if not isinstance(number, int) or number in self.yours:
            raise ValueError("a reference given twice.")
        self.yours[number] = value
        self.keys[id(value)] = ["yours", number]
        if isinstance(value, nn.Module):
            self.note(["yours", number], value)
        return value

    def rebuild(self, body: list, reader: Unpacker) -> nn.Module:
        """A module from its class, its parameters and what else it holds; its constructor is not called."""
        _, (where, name), state, buffers, below, rest, training = body
        kind = self.classes.get(name) if not where and not self.peer.trusted else found([where, name], nn.Module)
        module = kind.__new__(kind)
        nn.Module.__init__(module)
        for k, (t, grad) in state.items():
            module.register_parameter(k, fresh(reader.tensors[t], grad))
        for k, t in buffers.items():
            module.register_buffer(k, reader.tensors[t].detach().clone())
        for k, tree in below.items():
            module.add_module(k, reader.value(tree))
        for k, tree in rest.items():
            if k in INTERNAL or k.startswith("__"):
                raise ValueError(f"a module with an attribute {k[:20]!r}.")
            vars(module)[k] = reader.value(tree)
        return module.train(bool(training))

    def shared(self, module: nn.Module) -> list[tuple[str, Tensor]]:
        """The parameters that are kept equal for a shared module."""
        return list(module.named_parameters()) if id(module) in self.whole else self.own(module)

    def modules(self):
        """Every shared module with its key."""
        yield from ((["mine", n], m) for n, m in self.mine.items() if isinstance(m, nn.Module))
        yield from ((["yours", n], m) for n, m in self.yours.items() if isinstance(m, nn.Module))

    def parameter(self, t: Tensor) -> list | None:
        """The key of a tensor that is a parameter of a shared module."""
        if isinstance(t, nn.Parameter):
            return next(([*key, name] for key, m in self.modules() for name, p in self.shared(m) if p is t), None)
        return None

    def parameters(self) -> list[tuple[list, Tensor]]:
        """Every shared parameter with its key."""
        return [([*key, name], p) for key, m in self.modules() for name, p in self.shared(m)]

    @staticmethod
    def state(p: Tensor) -> tuple:
        grad = p.grad
        return p._version, p.data_ptr(), None if grad is None else (grad._version, grad.data_ptr())

    def note(self, key: list, module: nn.Module) -> None:
        """Take the parameters of a module as equal on both sides."""
        for name, p in self.shared(module):
            self.seen[(*key, name)] = self.state(p)

    def changes(self, packer: Packer) -> list:
        """What has changed in shared parameters since the last message, values and gradients."""
        news = []
        for key, p in self.parameters():
            if self.seen.get(tuple(key)) != self.state(p):
                self.seen[tuple(key)] = self.state(p)
                grad = None if p.grad is None else packer.tensor(p.grad)
                news.append([key, packer.tensor(p.detach()), grad])
        return news

    def apply(self, news: list, reader: Unpacker) -> None:
        """Take over what has changed on the other side."""
        for (side, number, name), value, grad in news:
            p = self.resolve("P", [side, number, name], reader)
            new = reader.tensors[value]
            if new.shape != p.shape or new.dtype != p.dtype:
                raise ValueError(f"the parameter {name} has changed its shape.")
            with torch.no_grad():
                p.copy_(new)
            p.grad = None if grad is None else reader.tensors[grad].to(p.dtype).reshape(p.shape).clone()
            self.seen[("mine" if side == "yours" else "yours", number, name)] = self.state(p)
