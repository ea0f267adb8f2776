"""Partitioned methods taken apart into shears: updates of one half of the state by a function of the other half.

    half "y":  y <- y + c h σ( K z + b1)          half "z":  z <- z + c h σ(-Kᵀ y + b2)

A shear is undone by the same update with a minus sign. A step of symplectic Euler is two shears; Verlet and leapfrog
split one of them in two halves, and neighbouring halves with the same weights merge, so that n steps cost 2n + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

# Each step: (half, share c of h).
PARTS: dict[str, tuple[tuple[str, float], ...]] = {
    "symplectic_euler": (("z", 1.0), ("y", 1.0)),
    "verlet": (("z", 0.5), ("y", 1.0), ("z", 0.5)),
    "leapfrog": (("y", 0.5), ("z", 1.0), ("y", 0.5)),
}


@dataclass(frozen=True)
class Shear:
    """One update: of which half, by the share c of h, with the weights of which layer."""

    half: str
    c: float
    layer: int


def schedule(method: str, steps: int, *, shared: bool) -> list[Shear]:
    """The shears of ``steps`` steps, in order; with shared weights all of them are of layer 0."""
    shears: list[Shear] = []
    for k in range(steps):
        for half, c in PARTS[method]:
            layer = 0 if shared else k
            if shears and (shears[-1].half, shears[-1].layer) == (half, layer):
                c += shears.pop().c
            shears.append(Shear(half, c, layer))
    return shears
