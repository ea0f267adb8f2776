"""Batches: tensors that stay on the device, or any loader of (x, y)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .device import Runtime

EXAMINED = 2048  # samples that an evaluation holds activations of at a time
Batch = tuple[Tensor, Tensor]
Augment = Callable[[Tensor, torch.Generator], Tensor]


class TensorBatches:
    """Batches of x (n, ...) and y (n, ...), both resident on the device; the order is drawn anew each epoch.

    batch_size None means the full batch, in the order given. With `world` processes each takes its share of every
    global batch, equal in size, so that N processes see what one would. augment(x, generator) changes a batch on the
    device.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        run: Runtime,
        *,
        batch_size: int | None,
        drop_last: bool = False,
        augment: Augment | None = None,
        rank: int = 0,
        world: int = 1,
    ):
        if len(x) != len(y):
            raise ValueError(f"data: x has {len(x)} samples and y has {len(y)}; give one target a sample")
        if not len(x):
            raise ValueError("data: has no samples")
        if batch_size is not None and not 0 < batch_size <= len(x):
            raise ValueError(f"batch_size={batch_size} must lie between 1 and the {len(x)} samples; None is full batch")
        self.n, self.size, self.run, self.augment = len(x), batch_size or len(x), run, augment
        self.rest = 0 if drop_last else self.n % self.size
        if self.size % world or self.rest % world:
            raise ValueError(
                f"a batch of {self.size} (and a last one of {self.rest}) cannot be shared evenly by "
                f"{world} processes: choose a batch_size divisible by {world} and drop_last=True"
            )
        self.rank, self.world = rank, world
        self.x, self.y = run.place(x), run.place(y)

    def __len__(self) -> int:
        return self.n // self.size + bool(self.rest)

    def sample(self) -> Batch:
        """A batch of the usual shape, for a trial; it draws nothing at random."""
        n = self.size // self.world
        return self.run.place(self.x[:n].clone()), self.y[:n]

    def in_order(self) -> Iterator[Batch]:
        """Everything once, as it stands, in pieces of at most EXAMINED samples."""
        return zip(self.x.split(EXAMINED), self.y.split(EXAMINED), strict=True)

    def epoch(self, order: torch.Generator, noise: torch.Generator, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on. order draws the permutation, noise the augmentation."""
        if self.size == self.n and self.world == 1 and self.augment is None:
            yield from [(self.x, self.y)][start:]
            return
        chosen = torch.randperm(self.n, generator=order).to(self.run.device)
        for index in chosen.split(self.size)[start : len(self)]:
            if self.world > 1:
                index = index[self.rank :: self.world]
            x = self.x[index]
            if self.augment is not None:
                x = self.augment(x, noise)
            yield self.run.place(x), self.y[index]


class LoaderBatches:
    """Batches from any object that yields (x, y) anew at each iteration, a DataLoader for instance."""

    def __init__(self, loader, run: Runtime, *, augment: Augment | None = None):
        self.loader, self.run, self.augment = loader, run, augment

    def __len__(self) -> int:
        return len(self.loader)

    def sample(self) -> Batch | None:
        """None: a loader cannot be asked without drawing from it."""
        return None

    def in_order(self) -> Iterator[Batch]:
        """Everything once, in the loader's own batches."""
        return ((self.run.place(x), self.run.place(y)) for x, y in self.loader)

    def epoch(self, order: torch.Generator, noise: torch.Generator, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `start` on; the order is the loader's own."""
        for i, (x, y) in enumerate(self.loader):
            if i < start:
                continue
            x = self.run.place(x)
            yield (x if self.augment is None else self.augment(x, noise)), self.run.place(y)


def make_batches(data, run: Runtime, *, batch_size, drop_last, augment, rank: int = 0, world: int = 1):
    """TensorBatches for a pair of tensors, LoaderBatches for anything else with a length that can be iterated over."""
    if isinstance(data, tuple | list) and len(data) == 2 and all(torch.is_tensor(t) for t in data):
        return TensorBatches(
            *data, run, batch_size=batch_size, drop_last=drop_last, augment=augment, rank=rank, world=world
        )
    if not (hasattr(data, "__iter__") and hasattr(data, "__len__")):
        raise TypeError(f"data is a {type(data).__name__}: give a pair of tensors (x, y) or a loader with a length")
    if batch_size is not None or drop_last:
        raise ValueError("batch_size and drop_last belong to tensors; a loader has its own")
    return LoaderBatches(data, run, augment=augment)


def examined_batches(data, run: Runtime):
    """Data that is measured, not trained on: all of it, on every process."""
    return make_batches(data, run, batch_size=None, drop_last=False, augment=None)
