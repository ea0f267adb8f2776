"""The check that an answer does without automatic differentiation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .score import CheckFailed


@contextmanager
def without_graph() -> Iterator[None]:
    """Run code that must not differentiate automatically: no gradients, and nothing saved for a backward pass.

    Reverse mode is seen, through ``autograd`` and ``torch.func``; forward mode saves nothing and is not. Of an answer
    that runs in another process, as in marking, only what needs gradients to be enabled is.

    Raises
    ------
    CheckFailed
        At the first operation that saves a tensor for the backward pass, or when a gradient is asked for.
    """
    said = "automatic differentiation was used; this exercise does without it."

    def refuse(saved: Tensor) -> None:
        raise CheckFailed(said)

    try:
        with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(refuse, lambda kept: kept):
            yield
    except RuntimeError as error:
        # torch.func refuses to run under hooks, autograd to differentiate what has no graph.
        if any(text in str(error) for text in ("saved tensor hooks", "does not require grad")):
            raise CheckFailed(said) from None
        raise
