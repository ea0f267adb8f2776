"""The check that an answer does without automatic differentiation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .score import CheckFailed


@contextmanager
def without_graph() -> Iterator[None]:
    """Run code that must not differentiate automatically: nothing may be saved for a backward pass.

    Reverse mode is seen, through ``autograd`` and through ``torch.func``; forward mode saves nothing and is not.

    Raises
    ------
    CheckFailed
        At the first operation that saves a tensor for the backward pass.
    """
    said = "automatic differentiation was used; this exercise does without it."

    def refuse(saved: Tensor) -> None:
        raise CheckFailed(said)

    try:
        with torch.autograd.graph.saved_tensors_hooks(refuse, lambda kept: kept):
            yield
    except RuntimeError as error:
        if "saved tensor hooks" in str(error):  # torch.func refuses to run under hooks of any kind
            raise CheckFailed(said) from None
        raise
