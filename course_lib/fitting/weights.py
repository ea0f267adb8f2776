"""The weights of a net, or of alike nets of several seeds, as rows of one matrix.

An optimizer then has one tensor to step, least squares one vector to solve for, and further unknowns (shooting states)
are simply more columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from course_lib.integrators.explicit import Field


class _With(nn.Module):
    """Lets a whole computation run under one swap of weights: the swap costs more than a small field's evaluation."""

    def __init__(self, field: nn.Module):
        super().__init__()
        self.field = field

    def forward(self, function: Callable, *args):
        return function(self.field, *args)


class Weights:
    """Flat views of the trainable parameters of one module, or of several that differ in their values alone.

    Parameters
    ----------
    models
        A module called as f(t, x), or a module with such a one as its attribute ``field``; or a sequence of them, one
        a seed.

    Raises
    ------
    TypeError, ValueError
        No module, nothing to train, more than one dtype, or models that differ in more than the values of their
        parameters.
    """

    def __init__(self, models: nn.Module | Sequence[nn.Module]):
        self.alone = isinstance(models, nn.Module)
        self.fields = [getattr(model, "field", model) for model in ([models] if self.alone else models)]
        if not self.fields or not all(isinstance(field, nn.Module) for field in self.fields):
            raise TypeError("models: expected a torch module f(t, x), or a sequence of them, one a seed.")
        first = {name: p for name, p in self.fields[0].named_parameters() if p.requires_grad}
        if len({p.dtype for p in first.values()}) != 1:
            raise ValueError("models: needs trainable parameters, all of one dtype; see requires_grad and .to(dtype).")
        self.names, self.shapes = list(first), [p.shape for p in first.values()]
        self.sizes, self.dtype = [p.numel() for p in first.values()], next(iter(first.values())).dtype
        self.size = sum(self.sizes)
        for field in self.fields[1:]:
            if [(n, p.shape, p.dtype) for n, p in field.named_parameters() if p.requires_grad] != [
                (n, p.shape, p.dtype) for n, p in first.items()
            ]:
                raise ValueError("models: the seeds' parameters differ in name, shape or dtype; make them all alike.")
            for (name, b), other in zip(self.fields[0].named_buffers(), field.buffers(), strict=True):
                if not torch.equal(b, other):
                    raise ValueError(f"models: the seeds' buffer {name!r} differs; only parameters may.")
        self._with = _With(self.fields[0])

    def __len__(self) -> int:
        return len(self.fields)

    def matrix(self) -> Tensor:
        """A copy of the weights, shape (seeds, size)."""
        rows = []
        for field in self.fields:
            named = dict(field.named_parameters())
            rows.append(torch.cat([named[name].detach().reshape(-1) for name in self.names]))
        return torch.stack(rows)

    def run(self, p: Tensor, function: Callable[..., Tensor], *args) -> Tensor:
        """function(field, \\*args) with the weights p, shape (size,), in the place of the field's own."""
        parts = p.split(self.sizes)
        named = {f"field.{n}": v.view(s) for n, v, s in zip(self.names, parts, self.shapes, strict=True)}
        return functional_call(self._with, named, (function, *args))

    def field(self, p: Tensor) -> Field:
        """The field with the weights p, shape (size,), as a function of t and x."""
        return lambda t, x: self.run(p, lambda f, t, x: f(t, x), t, x)

    @torch.no_grad()
    def write(self, rows: Tensor) -> None:
        """Put the rows, shape (seeds, size), into the modules."""
        for field, row in zip(self.fields, rows, strict=True):
            named = dict(field.named_parameters())
            for name, part in zip(self.names, row.split(self.sizes), strict=True):
                named[name].copy_(part.view_as(named[name]))
