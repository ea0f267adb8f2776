"""What training keeps in memory: bytes saved for the backward pass, and the peak of all that tensors hold.

Both are counted from torch's own records. The resident memory of the process would mislead: the allocator keeps what it
has freed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def saved_bytes(run: Callable[[], object], *, exclude: Iterable[Tensor] = ()) -> int:
    """Bytes of the tensors that autograd keeps for the backward pass of run(), each storage once.

    Storages of the tensors in ``exclude``, such as parameters and inputs, are not counted: they are there anyway.
    """
    sizes: dict[int, int] = {}
    known = {t.untyped_storage().data_ptr() for t in exclude}
    alive: list[Tensor] = []  # or a later storage could be counted under the address of one that has gone

    def keep(t: Tensor) -> Tensor:
        alive.append(t)
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        run()
    return sum(sizes.values())


class Ledger(TorchDispatchMode):
    """While active, counts the storages that come into being, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self.watched: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in tree_leaves(out):
            if isinstance(t, Tensor):
                self.count(t.untyped_storage())
        return out

    def count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage.data_ptr(), storage.nbytes()
        if key in self.watched or size == 0:
            return

        def freed(_: weakref.ref) -> None:
            self.held -= size
            del self.watched[key]

        self.watched[key] = weakref.ref(storage, freed)
        self.held += size
        self.peak = max(self.peak, self.held)


def peak_bytes(run: Callable[[], object], *, exclude: Iterable[Tensor] = ()) -> int:
    """Most bytes that tensors made during run() held at one time; work space inside an operation is not seen.

    Tensors in ``exclude`` (parameters, inputs) are there before and are not counted.
    """
    with Ledger() as ledger:
        for t in exclude:
            ledger.watched[t.untyped_storage().data_ptr()] = weakref.ref(t.untyped_storage())
        run()
    return ledger.peak
