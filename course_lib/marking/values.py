"""Values in a message: plain data and tensors by value, everything else as a reference that its owner keeps.

Nothing is unpickled, and the examiner takes no name of a function or a class from the student's side but those of
PyTorch's and the course's modules: a message can say what an answer is, and nothing more.
"""

from __future__ import annotations

import builtins
import importlib
import math
import numbers
import sys
import types

import numpy as np
import torch
from torch import Tensor, nn

DTYPES = {str(d)[6:]: d for d in vars(torch).values() if isinstance(d, torch.dtype) and d.itemsize and not d.is_complex}
DTYPES |= {"complex64": torch.complex64, "complex128": torch.complex128}
LAYERS = ("torch.nn.modules.", "course_lib.")  # whose objects the student may hand over; others run graphs or scripts
OPEN = ("course_lib", "torch", "numpy", "math", "builtins", "operator")  # what the examiner may name to the student


def named(value: object) -> list[str] | None:
    """Module and name of a function or class that the other process can import; None for anything else."""
    if not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return None
    module, name = getattr(value, "__module__", None) or "torch", getattr(value, "__qualname__", "")
    if module.split(".")[0] not in OPEN or "." in name or module.startswith("course_lib.marking"):
        return None
    return [module, name] if getattr(sys.modules.get(module), name, None) is value else None


def found(path: list[str], base: type | None = None) -> object:
    """What a name stands for; with a base, only a layer of PyTorch's or a module class of the course."""
    module, name = path
    if base is None and module.split(".")[0] not in OPEN:
        raise ValueError(f"{module}.{name} cannot be handed over.")
    if base is not None and not module.startswith(LAYERS):
        raise ValueError(f"{module}.{name} cannot be handed over.")
    if base is None or (module.startswith("course_lib.") and not module.endswith("__main__")):
        importlib.import_module(module)
    value = getattr(sys.modules.get(module), name)
    if base is not None and not (isinstance(value, type) and issubclass(value, base)):
        raise ValueError(f"{module}.{name} cannot be handed over.")
    return value


def to_bytes(t: Tensor) -> bytes:
    """The entries of a dense tensor."""
    flat = t.detach().cpu().contiguous().reshape(-1)
    flat = torch.view_as_real(flat.resolve_conj()).reshape(-1) if t.is_complex() else flat
    return flat.view(torch.uint8).numpy().tobytes()


def from_bytes(form: list, data: memoryview) -> Tensor:
    """A tensor again; ValueError if the bytes do not fill its shape."""
    name, shape = form
    dtype = DTYPES[name]
    sizes = all(isinstance(n, int) and n >= 0 for n in shape)
    if not sizes or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("the bytes of a tensor do not fill its shape.")
    if not len(data):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


class Packer:
    """Builds the tree of one message; tensors go into ``tensors``, each once."""

    def __init__(self, peer) -> None:
        self.peer, self.tensors, self.places = peer, [], {}

    def tensor(self, t: Tensor) -> int:
        if id(t) not in self.places:
            self.places[id(t)] = len(self.tensors)
            self.tensors.append(t)
        return self.places[id(t)]

    def tree(self, value: object) -> object:
        """The value as JSON can hold it."""
        if value is None or isinstance(value, bool | str):
            return value if value is None or isinstance(value, bool) else str(value)
        if isinstance(value, np.generic):
            return self.tree(value.item())
        if isinstance(value, numbers.Integral | numbers.Real):
            return int(value) if isinstance(value, numbers.Integral) else float(value)
        if isinstance(value, Tensor):
            key = self.peer.shelf.parameter(value)
            return {"P": key} if key else {"T": self.tensor(value)}
        for kind in (tuple, list, set, frozenset):
            if isinstance(value, kind):
                return {kind.__name__: [self.tree(v) for v in value]}
        if isinstance(value, dict):
            return {"dict": [[self.tree(k), self.tree(v)] for k, v in value.items()]}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            return {"array": self.tensor(torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape))}
        if isinstance(value, complex):
            return {"complex": [value.real, value.imag]}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value)[6:]}
        if isinstance(value, torch.Generator):
            return {"generator": self.tensor(value.get_state())}
        if isinstance(value, range | slice):
            return {type(value).__name__: [self.tree(v) for v in (value.start, value.stop, value.step)]}
        if self.peer.trusted and (path := named(value)):
            return {"name": path}
        return self.peer.shelf.reference(value, self)


class Unpacker:
    """Reads the tree of one message whose tensors have been rebuilt."""

    def __init__(self, peer, tensors: list[Tensor]) -> None:
        self.peer, self.tensors = peer, tensors

    def value(self, tree: object) -> object:
        if not isinstance(tree, dict):
            if isinstance(tree, list):
                raise ValueError("a bare list in a message.")
            return tree
        (kind, body), *more = tree.items()
        if more:
            raise ValueError("an unknown value in a message.")
        if kind in ("tuple", "list", "set", "frozenset"):
            return getattr(builtins, kind)(self.value(v) for v in body)
        if kind in ("range", "slice"):
            return (range if kind == "range" else slice)(*map(self.value, body))
        if kind == "dict":
            return {self.value(k): self.value(v) for k, v in body}
        if kind == "T":
            return self.tensors[body]
        if kind == "array":
            return self.tensors[body].numpy()
        if kind == "complex":
            return complex(*body)
        if kind == "dtype":
            return DTYPES[body]
        if kind == "generator":
            generator = torch.Generator()
            generator.set_state(self.tensors[body])
            return generator
        if kind == "name" and not self.peer.trusted:
            return found(body)
        return self.peer.shelf.resolve(kind, body, self)


def module_class(module: nn.Module, extra: dict) -> list[str] | None:
    """Where the other process finds the class of a module: by name, or among the notebook's own classes."""
    kind = type(module)
    if extra.get(kind.__name__) is kind:
        return ["", kind.__name__]
    return named(kind)
