"""The trainer: one loop for every chapter, from a two-second fit in a notebook to CIFAR-10 on a GPU."""

from .augment import Augmentation
from .checkpoint import CheckpointError
from .history import History, SeedHistory
from .lm import LevenbergMarquardt
from .loop import fit
from .objective import NonFiniteLoss, accuracy
from .optim import cosine, drops, warmup
from .seeds import SeedFit, fit_seeds

__all__ = [
    "Augmentation",
    "CheckpointError",
    "History",
    "LevenbergMarquardt",
    "NonFiniteLoss",
    "SeedFit",
    "SeedHistory",
    "accuracy",
    "cosine",
    "drops",
    "fit",
    "fit_seeds",
    "warmup",
]
