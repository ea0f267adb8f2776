"""Hare and lynx: pelts traded by the Hudson's Bay Company, 1900 to 1920, in thousands; embedded in the package.

The numbers are those of the file ``hudson-bay-lynx-hare.csv`` in Stan's example models (B. Carpenter, *Predator-prey
population dynamics: the Lotka-Volterra model in Stan*, 2018), taken there from P. Howard, *Modeling basics* (lecture
notes, Texas A&M University, 2009); the series goes back to E. P. Odum, *Fundamentals of Ecology* (1953). They count
furs that came to market, not animals.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from importlib import resources

import torch
from torch import Tensor

FILE = "hudson_bay_hare_lynx.csv"
SHA256 = "51ab3a3912b247c09e12058593abbcf5cbe65f15dd9db7f7e0d5184d655500e4"


@dataclass(frozen=True)
class Pelts:
    """Yearly pelts. ``years``, ``hare``, ``lynx``: float64 tensors of shape (21,); pelts in thousands."""

    years: Tensor
    hare: Tensor
    lynx: Tensor

    @property
    def t(self) -> Tensor:
        """Years since the first one, shape (21,)."""
        return self.years - self.years[0]

    @property
    def counts(self) -> Tensor:
        """Hare and lynx side by side, shape (21, 2), in thousands of pelts."""
        return torch.stack((self.hare, self.lynx), dim=-1)


def read(raw: bytes) -> Pelts:
    """Read the CSV file's bytes.

    Raises
    ------
    ValueError
        If they are not the published bytes (line ends may differ).
    """
    raw = raw.replace(b"\r\n", b"\n")  # git on Windows may have changed them
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{FILE}: SHA-256 {found[:12]}… is not the published {SHA256[:12]}…; install course_lib again."
        )
    rows = csv.DictReader(raw.decode("ascii").splitlines())
    table = torch.tensor([[float(row[k]) for k in ("year", "hare", "lynx")] for row in rows], dtype=torch.float64)
    return Pelts(*table.unbind(dim=1))


def pelts() -> Pelts:
    """The Hudson's Bay series as a new record of float64 tensors."""
    return read(resources.files("course_lib.data").joinpath(FILE).read_bytes())
