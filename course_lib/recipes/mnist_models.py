"""The networks of the MNIST table of Chen et al. 2018 (arXiv 1806.07366, table 1), and the two rows that it leaves out.

All but the MLP share a stem of three convolutions, 28x28 to 6x6 with 64 channels, and a head; what lies between
differs:

    resnet6   six residual blocks           576,778 parameters       none      nothing                      132,874
    resnet1   one                           206,858                  rknet     an ODE block, backpropagated
    mlp       784-300-10                    238,510                            through its solver           208,266
                                                                     odenet    the same, adjoint gradient   208,266
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..neural_ode import NeuralODE
from .conv_blocks import ConvField, Residual

CHANNELS, GROUPS = 64, 32
KINDS = ("odenet", "rknet", "resnet6", "resnet1", "none", "mlp", "mlp-deskewed")


def norm() -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, CHANNELS)


def model(
    kind: str, *, pixels: int = 784, method: str = "dopri5", tolerance: float = 1e-3, steps: int = 10
) -> nn.Sequential:
    """A network of the table: (batch, 1, 28, 28) in [0, 1] to logits (batch, 10). ValueError for an unknown kind.

    pixels matters to the MLPs alone; method, tolerance and steps (of a fixed-step method) to the ODE block alone.
    """
    if kind not in KINDS:
        raise ValueError(f"model={kind!r} is unknown: give one of {', '.join(KINDS)}")
    if kind.startswith("mlp"):
        return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 300), nn.ReLU(), nn.Linear(300, 10))
    stem = [
        nn.Conv2d(1, CHANNELS, 3),
        norm(),
        nn.ReLU(),
        nn.Conv2d(CHANNELS, CHANNELS, 4, 2, 1),
        norm(),
        nn.ReLU(),
        nn.Conv2d(CHANNELS, CHANNELS, 4, 2, 1),
    ]
    head = [norm(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 10)]
    blocks = {"none": 0, "resnet1": 1, "resnet6": 6}
    middle = [Residual(CHANNELS, GROUPS) for _ in range(blocks.get(kind, 0))]
    if kind in {"odenet", "rknet"}:
        gradient = "adjoint" if kind == "odenet" else "direct"
        field = ConvField(CHANNELS, GROUPS)
        middle = [NeuralODE(field, method=method, rtol=tolerance, atol=tolerance, steps=steps, gradient=gradient)]
    return nn.Sequential(*stem, *middle, *head)


def deskew(x: Tensor) -> Tensor:
    """Shear every image (n, 1, height, width) so that its ink no longer leans: LeCun et al. 1998's deskewing.

    The lean is the regression of column on row, weighted by grey value; rows are shifted by it about the centre of
    mass.
    """
    _, _, height, width = x.shape
    ink = x.flatten(1) / x.flatten(1).sum(1, keepdim=True).clamp(min=1e-9)
    rows, columns = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij"
    )
    rows, columns = rows.flatten().to(x), columns.flatten().to(x)
    row, column = ink @ rows, ink @ columns
    down = rows - row[:, None]
    lean = (ink * down * (columns - column[:, None])).sum(1) / (ink * down**2).sum(1).clamp(min=1e-9)
    theta = torch.zeros(len(x), 2, 3, dtype=x.dtype, device=x.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 0, 1] = lean * (height - 1) / (width - 1)  # in grid coordinates, -1 to 1 from pixel centre to pixel centre
    theta[:, 0, 2] = -lean * row * 2 / (width - 1)
    grid = F.affine_grid(theta, list(x.shape), align_corners=True)
    return F.grid_sample(x, grid, align_corners=True)
