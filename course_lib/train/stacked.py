"""The models of several seeds as one: their weights stacked along a leading axis, stepped and measured together."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from .objective import Objective
from .traced import TracedStep


class Stack:
    """Objectives alike but for their values; `params` and `buffers` hold name -> (seeds, ...).

    batched says whether x and y of a training batch carry a seed axis. step(x, y) sets the gradients and returns the
    losses, (seeds,): through `vmap`, or, where `traced`, through a trace of it, which pays from some hundred steps on.

    What `vmap` cannot map, as a solver whose steps depend on the state, a model may do for all seeds by itself: its
    method ``together(params, buffers, x)`` takes x (seeds, batch, ...) and returns the predictions and, (seeds,), the
    evaluations of its field, which `nfe` then holds. Raises ValueError for models with batch norm, or that differ in
    more than values.
    """

    def __init__(self, objectives: list[Objective], *, batched: bool, traced: bool):
        for module in objectives[0].modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                raise ValueError(
                    "make_model gives a model with batch norm, whose statistics cannot be stacked: use fit"
                )
        try:
            self.params, self.buffers = stack_module_state(objectives)
        except RuntimeError as error:
            raise ValueError(f"make_model's models differ between seeds and cannot be stacked: {error}") from error
        self.objectives, self.base = objectives, copy.deepcopy(objectives[0]).to("meta")
        dims = (0, 0, 0, 0) if batched else (0, 0, None, None)
        self.together = getattr(self.base.model, "together", None)
        if self.together is not None and self.base.penalty is not None:
            raise ValueError("penalty: a model that steps its seeds together takes none; put it into the loss")
        self.traced = TracedStep(self._loss, dims) if traced and self.together is None else None
        self.losses = self._losses_together if self.together is not None else vmap(self._loss, in_dims=dims)
        self.batched, self.nfe = batched, torch.zeros(len(objectives))

    def _loss(self, params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional_call(self.base, (params, buffers), (x, y))

    def _losses_together(self, params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        prediction, self.nfe = self._predict(x, self.batched)
        return vmap(self.base.loss, in_dims=(0, 0 if self.batched else None))(prediction, y)

    def _predict(self, x: Tensor, batched: bool) -> tuple[Tensor, Tensor]:
        x = x if batched else x.expand(len(self.objectives), *x.shape)
        return self.together(*self._inner(), x)

    def _inner(self) -> list[dict[str, Tensor]]:
        """params and buffers under the names that the model itself has for them."""
        return [{k.removeprefix("model."): v for k, v in part.items()} for part in (self.params, self.buffers)]

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        if self.traced is not None:
            return self.traced(self.params, self.buffers, x, y)
        for p in self.params.values():
            p.grad = None
        losses = self.losses(self.params, self.buffers, x, y)
        losses.sum().backward()
        for p in self.params.values():
            if p.grad is None:  # a weight that the objective does not use
                p.grad = torch.zeros_like(p)
        return losses.detach()

    def norms(self) -> Tensor:
        """(seeds,): Euclidean norm of each seed's gradient."""
        return torch.stack([p.grad.flatten(1).norm(dim=1) for p in self.params.values()], 1).norm(dim=1)

    def clip(self, norms: Tensor, largest: float) -> None:
        """Shorten each seed's gradient to norm `largest` where it is longer."""
        scale = (largest / (norms + 1e-6)).clamp(max=1.0)
        for p in self.params.values():
            p.grad.mul_(scale.view(-1, *[1] * (p.dim() - 1)))

    def test(self, function: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, *, batched: bool) -> Tensor:
        """function(prediction, y) of every seed, (seeds,); batched: x and y carry a seed axis."""

        def one(params, buffers, x, y):
            return function(functional_call(self.base.model, (params, buffers), (x,)), y)

        with torch.no_grad():
            if self.together is not None:
                return vmap(function, in_dims=(0, 0 if batched else None))(self._predict(x, batched)[0], y)
            return vmap(one, in_dims=(0, 0, 0, 0) if batched else (0, 0, None, None))(*self._inner(), x, y)

    def weights(self, i: int) -> dict[str, Tensor]:
        """A copy of the weights of seed i."""
        return {name: p[i].detach().clone() for name, p in self.params.items()}

    def unstack(self, kept: dict[int, dict[str, Tensor]]) -> list[nn.Module]:
        """The models, each with its weights from `kept`, or else its present ones."""
        for i, objective in enumerate(self.objectives):
            weights = kept.get(i) or self.weights(i)
            with torch.no_grad():
                for name, p in objective.named_parameters():
                    p.copy_(weights[name])
        return [objective.model for objective in self.objectives]
