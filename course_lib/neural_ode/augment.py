"""``Augment``: a neural ODE with room to spare, p more dimensions that start at zero.

Dupont, Doucet and Teh, *Augmented neural ODEs*, NeurIPS 2019 (arXiv 1904.01681), equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .node import NFE


class Augment(nn.Module):
    """Append p zeros to x0, solve in the larger space, and give the first d components back, or all of them.

    Parameters
    ----------
    node
        A ``NeuralODE`` whose field maps d + p components to d + p.
    p
        Components added, at least 0; with p = 0 the layer is the node itself.
    keep
        Give back all d + p components; for a head that reads them all, and for pictures.
    axis
        Where the components are: -1 for points (batch, d), 1 for the channels of images.

    Raises
    ------
    ValueError
        For a negative p, and on a call if x0 has no such axis.
    """

    def __init__(self, node: nn.Module, p: int, *, keep: bool = False, axis: int = -1):
        super().__init__()
        if not isinstance(p, int) or isinstance(p, bool) or p < 0:
            raise ValueError(f"p: expected a whole number of at least 0, got {p!r}.")
        self.node, self.p, self.keep, self.axis = node, p, keep, axis

    @property
    def nfe(self) -> NFE:
        """Evaluations of the node's last call."""
        return self.node.nfe

    def lift(self, x0: Tensor) -> Tensor:
        """x0 with p zeros appended along the axis."""
        if not -x0.ndim <= self.axis < x0.ndim:
            raise ValueError(f"x0: shape {tuple(x0.shape)} has no axis {self.axis}; give a batch of states.")
        shape = list(x0.shape)
        shape[self.axis] = self.p
        return torch.cat((x0, x0.new_zeros(shape)), self.axis)

    def forward(self, x0: Tensor, t: Tensor | Sequence[float] | None = None) -> Tensor:
        """Without t the last state, with times t the trajectory (n, ...), as ``NeuralODE`` gives them."""
        return self.project(self.node(self.lift(x0), t), x0)

    def project(self, x: Tensor, x0: Tensor) -> Tensor:
        """The components of x that come from x0, or all of them (``keep``); x is a state, or a trajectory (n, ...)."""
        axis = self.axis if self.axis < 0 else self.axis + x.ndim - x0.ndim
        return x if self.keep else x.narrow(axis, 0, x0.shape[self.axis])
