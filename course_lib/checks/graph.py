"""The checks that an answer does without: automatic differentiation, or the library's own code for the same task."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from .score import CheckFailed

SAID = "automatic differentiation was used; this exercise does without it."
TORCH, COURSE = Path(torch.__file__).parent, Path(__file__).parents[1]
# Where torch keeps what differentiates, forward mode too; torch.vmap is elsewhere.
DIFFERENTIATES = [TORCH / "_functorch/eager_transforms.py"]
DIFFERENTIATES += [TORCH / f"autograd/{name}.py" for name in ("forward_ad", "functional")]


@contextmanager
def without_code(*places: Path, said: str) -> Iterator[None]:
    """Refuse calls of Python functions that stand in these files or folders, under whatever name they are called."""
    names = tuple(str(place) for place in places)

    def refuse(frame, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(names):
            raise CheckFailed(said)

    before = sys.getprofile()
    sys.setprofile(refuse)
    try:
        yield
    finally:
        sys.setprofile(before)


def without_solvers():
    """Run code that must not call ``solve`` or a step of ``course_lib.integrators``.

    Of an answer that runs in another process, as in marking, nothing is seen.

    Raises
    ------
    CheckFailed
        At the first call of one of them.
    """
    return without_code(
        COURSE / "integrators", said="a solver or a step of the library was called; write the step out instead."
    )


@contextmanager
def without_graph() -> Iterator[None]:
    """Run code that must not differentiate automatically: no gradients, and nothing saved for a backward pass.

    Reverse and forward mode are seen, through ``autograd`` and ``torch.func``. Of an answer that runs in another
    process, as in marking, only what needs gradients to be enabled is; ``by_arithmetic`` sees more there.

    Raises
    ------
    CheckFailed
        At the first operation that saves a tensor for the backward pass, or when a derivative is asked for.
    """

    def refuse(saved: Tensor) -> None:
        raise CheckFailed(SAID)

    try:
        with (
            torch.no_grad(),
            torch.autograd.graph.saved_tensors_hooks(refuse, lambda kept: kept),
            without_code(*DIFFERENTIATES, said=SAID),
        ):
            yield
    except RuntimeError as error:
        # torch.func refuses to run under hooks, autograd to differentiate what has no graph.
        if any(text in str(error) for text in ("saved tensor hooks", "does not require grad")):
            raise CheckFailed(SAID) from None
        raise


def by_arithmetic(answer: Callable[..., object], *inputs: Tensor) -> None:
    """Check that an answer does arithmetic: on complex inputs torch's ``jacrev`` and its like refuse to work.

    Their refusal is known by its words, from another process too. Any other error is let pass, since nobody asked for
    an answer that takes complex numbers; so is what an answer returns.

    Raises
    ------
    CheckFailed
        If torch says that it does not differentiate with respect to complex numbers.
    """
    try:
        answer(*(torch.complex(x, 0.1 * x) for x in inputs))
    except (CheckFailed, NotImplementedError):
        raise
    except Exception as error:
        if re.search(r"jacrev|jacfwd|grad can be|does not require grad|to be real|real-valued", str(error)):
            raise CheckFailed(SAID) from None
