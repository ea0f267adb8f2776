"""Hamiltonian and antisymmetric layers, reversible backpropagation, and the published network."""

from .layers import AntisymmetricConv2d, AntisymmetricDense, HamiltonianConv2d, HamiltonianDense
from .network import ChannelZeroPadding, hamiltonian_network, summary
from .operators import Conv2d, Dense, adjoint_gap
from .reversible import ReconstructionError

__all__ = [
    "AntisymmetricConv2d", "AntisymmetricDense", "ChannelZeroPadding", "Conv2d", "Dense", "HamiltonianConv2d",
    "HamiltonianDense", "ReconstructionError", "adjoint_gap", "hamiltonian_network", "summary",
]
