"""``ODENet``: a flow and a head on its last state; its seeds train together, each with step sizes of its own."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call, vmap

from ..integrators.batched import dopri5_each
from ..train.traced import traced_each
from .augment import Augment
from .node import NeuralODE

State = dict[str, Tensor]


class ODENet(nn.Module):
    """head(flow(x)): the "ODE block and linear layer" of Dupont, Doucet and Teh 2019 (arXiv 1904.01681, section 5).

    Parameters
    ----------
    flow
        A ``NeuralODE``, or one in ``Augment``.
    head
        A module on the flow's last state; None gives the state itself.
    """

    def __init__(self, flow: nn.Module, head: nn.Module | None = None):
        super().__init__()
        self.flow, self.head, self._traces = flow, head or nn.Identity(), {}

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, d) to the head's output."""
        return self.head(self.flow(x))

    @property
    def node(self) -> NeuralODE:
        """The neural ODE itself, augmented or not."""
        return self.flow.node if isinstance(self.flow, Augment) else self.flow

    @property
    def together(self):
        """``run_together`` where ``torch.func.vmap`` cannot map the solver, which is adaptive; else None."""
        node = self.node
        adaptive = node.method == "dopri5" and node.solver == "own" and node.gradient == "direct"
        return self.run_together if adaptive else None

    def run_together(self, params: State, buffers: State, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs of many such nets at once, each with its own adaptive steps.

        params and buffers hold, by name, the values of all nets along a first axis; x is (nets, batch, d). Returns
        outputs (nets, batch, ...) and the evaluations of each net's field, (nets,).
        """
        flow, node = self.flow, self.node
        augmented = isinstance(flow, Augment)
        prefix = "flow.node.field." if augmented else "flow.field."
        values = {**_part(params, prefix), **_part(buffers, prefix)}
        start = vmap(flow.lift)(x) if augmented else x
        solved = dopri5_each(lambda t, z: self._field(values, t, z), start, node.t, **node.tolerances(),
                             max_steps=node.max_steps)
        z = vmap(flow.project)(solved.x[-1], x) if augmented else solved.x[-1]
        if isinstance(self.head, nn.Identity):
            return z, solved.nfe
        head = {**_part(params, "head."), **_part(buffers, "head.")}
        return vmap(lambda values, z: functional_call(self.head, values, (z,)))(head, z), solved.nfe

    def _field(self, values: State, t: Tensor, z: Tensor) -> Tensor:
        """All fields, one a seed, by a trace that is made once a shape: vmap itself would cost more than the nets."""
        key = (z.shape, z.dtype)
        if key not in self._traces:

            def one(values, t, z):
                return functional_call(self.node.field, values, (t, z))

            self._traces[key] = traced_each(one, values, t, z)
        return self._traces[key](values, t, z)


def _part(values: State, prefix: str) -> State:
    """The entries below a prefix, under the names they have there."""
    return {name.removeprefix(prefix): v for name, v in values.items() if name.startswith(prefix)}
