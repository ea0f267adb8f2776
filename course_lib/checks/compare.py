"""Checks that compare an answer with the value, the function or the derivative it should be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real

import torch
from torch import Tensor

from .score import CheckFailed


def holds(condition: object, *, passed: str, failed: str) -> None:
    """Check any condition; ``passed`` and ``failed`` say in the problem's terms what was found."""
    if not bool(condition):
        raise CheckFailed(failed)
    print(f"holds: {passed}")


def show(x: Tensor) -> str:
    """A few entries of a tensor as a reader writes them."""
    entries = [f"{v:.6g}" for v in x.detach().flatten()[:4].tolist()]
    more = ", …" if x.numel() > 4 else ""
    return entries[0] if x.ndim == 0 else f"({', '.join(entries)}{more})"


def answer(value: object, *, what: str, shape: torch.Size | None = None) -> Tensor:
    """An answer as a tensor, if it is one: a number or a floating-point tensor, finite, of the shape expected."""
    if value is None:
        raise CheckFailed(f"{what}: got None; does the function return its result?")
    if isinstance(value, Real) and not isinstance(value, bool):
        value = torch.tensor(float(value), dtype=torch.float64)
    if not isinstance(value, Tensor):
        raise CheckFailed(f"{what}: expected a tensor, got {type(value).__name__}.")
    if not value.is_floating_point():
        raise CheckFailed(f"{what}: expected floating-point numbers, got {value.dtype}.")
    if shape is not None and value.shape != shape:
        raise CheckFailed(f"{what}: expected shape {tuple(shape)}, got {tuple(value.shape)}.")
    if not torch.isfinite(value).all():
        raise CheckFailed(f"{what}: the result has NaN or infinite entries.")
    return value.detach()


def whole(value: object, *, what: str) -> int:
    """A whole number as an int, whatever holds it: Python, numpy or torch, also as 3.0."""
    try:
        exact = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, RuntimeError):
        exact = math.nan
    if not exact.is_integer():
        raise CheckFailed(f"{what}: expected a whole number, got {' '.join(str(value).split())[:40]}.")
    return int(exact)


def parts(result: object, *names: str, what: str = "") -> tuple:
    """The results of a function that returns several, by their names, if there are as many."""
    if isinstance(result, tuple | list) and len(result) == len(names):
        return tuple(result)
    wanted = f"{'the pair' if len(names) == 2 else f'{len(names)} results'} ({', '.join(names)})"
    found = f"{len(result)} values" if isinstance(result, tuple | list) else type(result).__name__
    found = "None; does the function return its result?" if result is None else f"{found}."
    raise CheckFailed(f"{what}{': ' * bool(what)}expected {wanted}, got {found}")


def number(value: object) -> Tensor:
    """A tensor as it is, without its graph; a number in float64, not in torch's default float32."""
    return value.detach() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def slip(value: Tensor, slips: Mapping[str, object] | None, tol: float) -> str:
    """The sentence of the well-known mistake that gives this value, with a space before it; else nothing."""
    return next((f" {text}" for text, wrong in (slips or {}).items() if near(value, number(wrong), tol)), "")


def known(value: Tensor, expected: Tensor, slips: Mapping[str, object] | None, tol: float) -> str:
    """What can be said of a wrong value: the slip that gives it, or a difference too small to be seen in print."""
    if text := slip(value, slips, tol):
        return text
    if value.dtype == torch.float32 and expected.dtype == torch.float64 and near(value, expected, 1e-5):
        return " It is right to the seven digits of float32: compute in float64."
    gap = (value.double() - expected.double()).abs().max().item()
    return f" They differ by {gap:.1g}." if show(value) == show(expected) else ""


def near(a: Tensor, b: Tensor, tol: float) -> bool:
    """Equal to tol, relative to the largest entry of b where that exceeds 1."""
    a, b = a.double(), b.double()
    return a.shape == b.shape and bool((a - b).abs().max() <= tol * max(1.0, float(b.abs().max())))


def close(
    value: object, expected: Tensor | float, *, what: str, tol: float = 1e-10, slips: Mapping[str, object] | None = None
) -> None:
    """Check a value against the one that mathematics gives.

    Parameters
    ----------
    value, expected
        Number or tensor; shapes must agree.
    what
        What is compared, in the problem's terms: "one Euler step of x' = 3x".
    tol
        Largest difference allowed, relative to the largest entry of expected where that exceeds 1.
    slips
        Values that well-known mistakes give, by the sentence that names the mistake.

    Raises
    ------
    CheckFailed
        With expected and found value, and the mistake if it is one of the slips.
    """
    expected = number(expected)
    value = answer(value, what=what, shape=expected.shape)
    if not near(value, expected, tol):
        raise CheckFailed(f"{what}: expected {show(expected)}, got {show(value)}.{known(value, expected, slips, tol)}")
    print(f"holds: {what}")


def exact(value: object, expected: Tensor, *, what: str) -> None:
    """Check that two tensors are equal to the last bit (same shape, same dtype)."""
    value = answer(value, what=what, shape=expected.shape)
    if value.dtype != expected.dtype:
        raise CheckFailed(f"{what}: expected {expected.dtype}, got {value.dtype}.")
    if not torch.equal(value, expected.detach()):
        gap = (value - expected.detach()).abs().max().item()
        raise CheckFailed(f"{what}: not equal to the last bit; the largest difference is {gap:.3g}.")
    print(f"holds: {what}, equal to the last bit")


def same_function(
    f: Callable[[Tensor], Tensor], g: Callable[[Tensor], Tensor], x: Tensor, *, what: str, tol: float = 1e-12
) -> None:
    """Check that f and g agree on the inputs x, shape (batch, ...), to tol."""
    expected = g(x).detach()
    value = answer(f(x), what=what, shape=expected.shape)
    if not near(value, expected, tol):
        gap = (value - expected).abs().max().item()
        raise CheckFailed(f"{what}: the two functions differ by up to {gap:.3g} on {len(x)} inputs.")
    print(f"holds: {what} (the same on {len(x)} inputs)")


def rowwise(f: Callable[[Tensor], Tensor], x: Tensor, *, what: str, tol: float = 1e-9) -> None:
    """Check that f maps every row of x, shape (batch, d), to a row of that shape, whatever the other rows are."""
    among = answer(f(x), what=what, shape=x.shape)
    reverse = answer(f(x.flip(0)), what=what, shape=x.shape).flip(0)
    alone = torch.cat([answer(f(row), what=what, shape=row.shape) for row in (x[:1], x[-1:])])
    if not (near(reverse, among, tol) and near(alone, among[[0, -1]], tol)):
        raise CheckFailed(f"{what}: that of a sample changes with the other samples of the batch, or with their order.")


def derivative(f: Callable[[Tensor], Tensor], x: Tensor, *, step: float = 1e-5) -> Tensor:
    """Gradient of a scalar function at x by central differences, error O(step^2); float64, shape of x."""
    x = x.detach().double()
    grad = torch.empty_like(x).flatten()
    for k in range(x.numel()):
        bump = torch.zeros_like(x).flatten()
        bump[k] = step
        bump = bump.reshape(x.shape)
        grad[k] = (f(x + bump) - f(x - bump)).detach() / (2 * step)
    return grad.reshape(x.shape)


def gradient(
    value: object,
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    what: str,
    tol: float = 1e-7,
    slips: Mapping[str, object] | None = None,
) -> None:
    """Check a gradient, shape of x, against central differences of the scalar function f at x; slips as in close."""
    expected = derivative(f, x)
    value = answer(value, what=what, shape=expected.shape)
    if not near(value, expected, tol):
        found = f"finite differences give {show(expected)}, your derivative is {show(value)}."
        raise CheckFailed(f"{what}: {found}{known(value, expected, slips, tol)}")
    print(f"holds: {what}, against finite differences")
