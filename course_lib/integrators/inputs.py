"""Checks of what every solver is given: the initial state and the times. Each error is one line."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

import torch
from torch import Tensor
from torch._C import _functorch  # torch has no public way to ask whether vmap holds a tensor


def is_batched(x: Tensor) -> bool:
    """Whether x stands for many tensors at once, under ``torch.func.vmap``: then it has no single value to ask for."""
    while _functorch.is_functorch_wrapped_tensor(x):
        if _functorch.is_batchedtensor(x):
            return True
        x = _functorch.get_unwrapped(x)
    return False


def check_state(x0: Tensor) -> Tensor:
    """Return x0 as it is if a solver can work on it: a floating-point tensor with finite entries."""
    check_kind(x0)
    if not is_batched(x0) and not all_finite(x0):
        raise ValueError("x0: has NaN or infinite entries; check what computes the initial state.")
    return x0


def check_kind(x0: Tensor) -> None:
    """Refuse what is no floating-point tensor; nothing is read from its entries, which may lie on a GPU."""
    if not isinstance(x0, Tensor):
        raise TypeError(f"x0: expected a torch tensor, got {type(x0).__name__}; wrap it in torch.tensor(...).")
    if not x0.is_floating_point():
        raise TypeError(f"x0: dtype {x0.dtype} cannot hold a step of size h; use x0.float() or x0.double().")


def all_finite(x: Tensor) -> bool:
    """Whether no entry is NaN or infinite: a finite sum says so at once, an infinite one may be an overflow."""
    return math.isfinite(x.detach().sum()) or bool(torch.isfinite(x).all())


def check_times(t: Tensor | Sequence[float], x0: Tensor) -> Tensor:
    """Return t as a 1-D tensor like x0, strictly increasing or strictly decreasing, of length at least 2."""
    if not isinstance(t, Tensor):
        t = torch.tensor(t, dtype=x0.dtype, device=x0.device)
    t = t.to(device=x0.device)
    if is_batched(t):
        raise TypeError("t: the times cannot be mapped by vmap; they are the same for all.")
    if t.ndim != 1 or len(t) < 2:
        raise ValueError(f"t: expected a 1-D tensor of at least two times, got shape {tuple(t.shape)}.")
    values = numbers(t)
    if not all(map(math.isfinite, values)):
        raise ValueError("t: has NaN or infinite entries; every time must be a finite number.")
    # Times keep their own precision until here: in float32, close times can coincide.
    t = t.to(dtype=x0.dtype)
    values = numbers(t)
    if not (all(map(operator.lt, values, values[1:])) or all(map(operator.gt, values, values[1:]))):
        raise ValueError(f"t: not strictly monotone in {x0.dtype}; sort the times and remove repeated ones.")
    return t


def check_steps(steps: int) -> int:
    """Return steps as it is if it is a whole number of at least 1."""
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(f"steps: expected a whole number of at least 1, got {steps!r}.")
    return steps


def numbers(t: Tensor) -> list[float]:
    """The entries of t, whatever torch.func wraps it in: checks of floats can be traced, those of tensors cannot."""
    return torch.func.debug_unwrap(t, recurse=True).tolist()
