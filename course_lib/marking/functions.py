"""Functions of the checks that travel by value, because nobody could tell: they change nothing outside themselves.

A field such as ``lambda t, x: -x`` is then evaluated where the answer calls it, twenty thousand times if need be. A
function that counts its calls, or holds anything that can change, stays where it is and is called there.
"""

from __future__ import annotations

import base64
import builtins
import dis
import marshal
import types

import torch
from torch import nn

from .values import Packer, Unpacker, module_class, named

CHANGES = {f"{what}_{kind}" for what in ("STORE", "DELETE") for kind in ("GLOBAL", "ATTR", "SUBSCR")} | {"DELETE_DEREF"}


def codes(code: types.CodeType) -> list[types.CodeType]:
    """A code object with those inside it."""
    return [code, *(inner for c in code.co_consts if isinstance(c, types.CodeType) for inner in codes(c))]


def keeps_to_itself(code: types.CodeType) -> bool:
    """Whether no statement changes what lies outside, but for calls of what the code has been given."""
    own: set[str] = set()
    for part in codes(code):
        own |= set(part.co_cellvars)
        for step in dis.get_instructions(part):
            if step.opname in CHANGES or (step.opname == "STORE_DEREF" and step.argval not in own):
                return False
        if any(name.endswith("_") and not name.endswith("__") for name in part.co_names):  # add_, zero_, copy_
            return False
    return True


def uses(f: types.FunctionType) -> dict[str, object]:
    """The globals that a function may read."""
    names = {name for code in codes(f.__code__) for name in code.co_names}
    return {name: f.__globals__[name] for name in names if name in f.__globals__}


def plain(value: object, classes: dict, above: tuple = ()) -> bool:
    """Whether a value is one that can travel without anyone being able to tell."""
    if isinstance(value, torch.Tensor):
        return not value.requires_grad or isinstance(value, nn.Parameter)
    if value is None or isinstance(value, bool | int | float | complex | str | torch.dtype | types.ModuleType):
        return not isinstance(value, types.ModuleType) or value.__name__.split(".")[0] in ("torch", "math", "numpy")
    if isinstance(value, tuple):
        return all(plain(v, classes, above) for v in value)
    if isinstance(value, nn.Module):
        return module_class(value, classes) is not None
    if named(value):
        return True
    if not isinstance(value, types.FunctionType) or value in above or not keeps_to_itself(value.__code__):
        return False
    if any(cell == types.CellType() for cell in value.__closure__ or ()):
        return False
    held = [cell.cell_contents for cell in value.__closure__ or ()] + list(uses(value).values())
    held += [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    return all(plain(v, classes, (*above, value)) for v in held)


def pack(f: types.FunctionType, packer: Packer) -> dict:
    """The tree of a plain function."""
    read = uses(f)
    libraries = {name: v.__name__ for name, v in read.items() if isinstance(v, types.ModuleType)}
    held = [cell.cell_contents for cell in f.__closure__ or ()]
    kept = {name: v for name, v in read.items() if name not in libraries}
    libraries_held = {k: v.__name__ for k, v in enumerate(held) if isinstance(v, types.ModuleType)}
    held = [None if k in libraries_held else v for k, v in enumerate(held)]
    values = (kept, held, f.__defaults__, f.__kwdefaults__)
    code = base64.b64encode(marshal.dumps(f.__code__)).decode()
    return {"function": [f.__name__, code, libraries, [*libraries_held.items()], *map(packer.tree, values)]}


def unpack(body: list, reader: Unpacker) -> types.FunctionType:
    """The function again; on the student's side only."""
    name, code, libraries, libraries_held, *trees = body
    kept, held, defaults, keywords = map(reader.value, trees)
    for k, module in libraries_held:
        held[k] = __import__(module, fromlist=["_"])
    space = kept | {n: __import__(m, fromlist=["_"]) for n, m in libraries.items()} | {"__builtins__": builtins}
    cells = tuple(types.CellType(v) for v in held)
    f = types.FunctionType(marshal.loads(base64.b64decode(code)), space, name, defaults, cells)
    f.__kwdefaults__ = keywords
    return f
