"""The published experiments, one module each: ``python -m course_lib list`` and ``python -m course_lib run NAME``."""

from __future__ import annotations

from importlib import import_module

from .base import Recipe, Setup, execute, missing, wanting

# name -> module; a chapter adds its recipe here
MODULES = {
    "cifar10-hamiltonian": "cifar10_hamiltonian",
    "mnist-odenet": "mnist_odenet",
    "digits-odenet": "digits_odenet",
    "implicit-1d": "implicit_1d",
    "implicit-spirals": "implicit_spirals",
    "anode-toy": "anode_toy",
    "lotka-volterra": "lotka_volterra",
}


def recipe(name: str) -> Recipe:
    """The recipe of that name; ValueError lists the names there are."""
    if name not in MODULES:
        raise ValueError(f"recipe {name!r} is unknown: there are {', '.join(MODULES)}")
    return import_module(f".{MODULES[name]}", __name__).RECIPE


__all__ = ["MODULES", "Recipe", "Setup", "execute", "missing", "recipe", "wanting"]
