"""The batched training step as a plain list of tensor operations.

`torch.func.vmap` works by interposing on every operation, which costs a small net more than the arithmetic. Traced once
(`make_fx`), the step of all seeds, gradients included, is a straight list of batched operations without vmap, autograd
or modules in it; what the tracing leaves behind, such as views that change nothing, is then taken out. That halves a
step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor, fx
from torch.func import grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map

aten = torch.ops.aten
VIEWS = {aten.expand.default, aten.view.default, aten._unsafe_view.default, aten.reshape.default}
COPIES = {aten.detach.default, aten.alias.default}
# Called through torch.ops an operation costs some two microseconds more.
DIRECT = {
    aten.add.Tensor: operator.add, aten.sub.Tensor: operator.sub, aten.mul.Tensor: operator.mul,
    aten.neg.default: operator.neg, aten.bmm.default: torch.bmm, aten.transpose.int: torch.transpose,
    aten.tanh.default: torch.tanh, aten.relu.default: torch.relu, aten.view.default: Tensor.view,
    aten.sum.dim_IntList: torch.sum,
}  # fmt: skip
TRANSPOSES = {aten.transpose.int, torch.transpose}


class TracedStep:
    """Losses and gradients of all seeds: step(params, buffers, x, y) sets each .grad and returns the losses, (seeds,).

    loss(params, buffers, x, y) is the objective of one seed; in_dims says which arguments carry a leading seed axis. A
    trace is made for every shape of x and y. What the objective reads besides its arguments is frozen at its first
    call.
    """

    def __init__(self, loss: Callable[..., Tensor], in_dims: tuple):
        self.function = vmap(grad_and_value(loss), in_dims=in_dims)
        self.traces: dict[tuple, fx.GraphModule] = {}

    @torch.no_grad()
    def __call__(self, params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        shapes = (x.shape, y.shape)
        arguments = (list(params.values()), list(buffers.values()), x, y)
        if shapes not in self.traces:

            def flat(values, others, x, y):
                named, fixed = dict(zip(params, values, strict=True)), dict(zip(buffers, others, strict=True))
                grads, losses = self.function(named, fixed, x, y)
                return [grads[name] for name in params], losses

            detached = [[t.detach() for t in part] for part in arguments[:2]]
            self.traces[shapes] = simplify(make_fx(flat)(*detached, x, y))
        grads, losses = self.traces[shapes](*arguments)
        for p, grad in zip(params.values(), grads, strict=True):
            p.grad = grad
        return losses


def traced_each(function: Callable[..., Tensor], *examples) -> fx.GraphModule:
    """`vmap(function)` as a plain list of operations that autograd can follow; every argument has a leading seed axis.

    examples: arguments, trees of tensors, whose shapes the trace is for; their values do not matter.
    """
    with torch.no_grad():
        return simplify(make_fx(vmap(function))(*tree_map(Tensor.detach, examples)))


def simplify(module: fx.GraphModule) -> fx.GraphModule:
    """Take out what changes nothing, and let a product and its bias be one operation. The values stay the same."""
    graph = module.graph
    for node in [n for n in graph.nodes if n.op == "call_function"]:
        if (same := unchanged(node)) is not None:
            node.replace_all_uses_with(same)
            graph.erase_node(node)
        elif (pair := biased_product(node)) is not None:
            bias, product = pair
            with graph.inserting_before(node):
                joined = graph.call_function(torch.baddbmm, (bias, *product.args))
            joined.meta = node.meta
            node.replace_all_uses_with(joined)
            graph.erase_node(node)
            graph.erase_node(product)
        elif node.target in DIRECT and not node.kwargs:
            node.target = DIRECT[node.target]
    graph.eliminate_dead_code()
    graph.lint()
    module.recompile()
    return module


def unchanged(node: fx.Node) -> fx.Node | None:
    """What the node's result is the same as: numbers, shape, strides and type; None if it is new."""
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or "val" not in node.meta:
        return None
    if node.target in TRANSPOSES and source.target in TRANSPOSES and set(node.args[1:]) == set(source.args[1:]):
        return source.args[0]
    before, after = source.meta.get("val"), node.meta["val"]
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return None
    one = node.target is aten.mul.Scalar and node.args[1] == 1
    same = (before.shape, before.stride(), before.dtype) == (after.shape, after.stride(), after.dtype)
    return source if same and (one or node.target in VIEWS or node.target in COPIES) else None


def biased_product(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """(bias, product) if the node adds a bias to a batched matrix product that nothing else uses."""
    if node.target is not aten.add.Tensor or node.kwargs:
        return None
    for bias, product in (node.args, node.args[::-1]):
        if not (isinstance(bias, fx.Node) and isinstance(product, fx.Node)) or len(product.users) != 1:
            continue
        if product.target not in (aten.bmm.default, torch.bmm):
            continue
        result, own, other = node.meta["val"], product.meta["val"], bias.meta["val"]
        if (result.shape, result.dtype) == (own.shape, own.dtype) and other.dtype == own.dtype:
            return bias, product
    return None
