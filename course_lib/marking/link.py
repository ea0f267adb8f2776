"""One autograd graph over two processes: ``Link`` is the node behind which the other process's part lies.

Gradients go to the tensors of a call and to the parameters of shared modules. They do not reach a tensor that a
function called back from the other side holds in its closure, unless it belongs to such a module.
"""

from __future__ import annotations

import torch
from torch import Tensor


def transforming() -> bool:
    """Whether a transform of torch.func is at work, whose tensors only an autograd function can open."""
    return torch._C._functorch.peek_interpreter_stack() is not None


class Call:
    """One question to the other side, with the tensors that it depends on."""

    def __init__(self, peer, request: dict, tensors: list[Tensor], inputs: list[tuple], need: bool) -> None:
        self.peer, self.request, self.count = peer, request, len(tensors)
        self.inputs, self.need = inputs, need  # inputs: (key or None, tensor) that gradients go to, beside ``tensors``
        self.number, self.flags, self.tree = 0, [], None

    def perform(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.number = next(self.peer.numbers)
        request = self.request | {"id": self.number, "need": self.need, "grad": torch.is_grad_enabled() or self.need}
        request["inputs"] = [key for key, _ in self.inputs] if self.need else []
        self.tree, results, self.flags = self.peer.exchange(request, list(tensors[: self.count]))
        return tuple(results)

    def __del__(self):
        if self.number and self.need:
            self.peer.done.append(self.number)


class Link(torch.autograd.Function):
    """The part of a graph that lies in the other process."""

    @staticmethod
    def forward(call: Call, *tensors: Tensor):
        return (*call.perform(tensors), torch.zeros(()))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.call = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.mark_non_differentiable(*[t for t, flag in zip(output, [*ctx.call.flags, False], strict=True) if not flag])

    @staticmethod
    def backward(ctx, *grads: Tensor):
        saved, peer = ctx.saved_tensors, ctx.call.peer
        grads = [g for g, flag in zip(grads, ctx.call.flags, strict=False) if flag]
        request = {"op": "vjp", "of": ctx.call.number}
        found = peer.perform(request, grads, [(None, t) for t in saved], need=torch.is_grad_enabled())
        return (None, *found)

    @staticmethod
    def vmap(info, in_dims, call: Call, *tensors: Tensor):
        rows = []
        for b in range(info.batch_size):
            row = [t if d is None else t.select(d, b) for t, d in zip(tensors, in_dims[1:], strict=True)]
            one = Call(call.peer, call.request, row[: call.count], call.inputs, call.need)
            rows.append(Link.apply(one, *row))
        call.tree, call.flags = one.tree, one.flags
        return tuple(torch.stack(column) for column in zip(*rows, strict=True)), (0,) * len(rows[0])
