"""Where and in which precision to train: `"auto"` takes what pays on the device that is there."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

try:
    import resource
except ImportError:  # Windows has no such module
    resource = None

_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Runtime:
    """device; autocast type or None; whether to compile the objective and to lay images out channels-last."""

    device: torch.device
    autocast: torch.dtype | None
    compile: bool
    channels_last: bool

    @property
    def graphs(self) -> bool:
        """Whether steps are replayed as CUDA graphs."""
        return self.compile and self.device.type == "cuda"

    def cast(self):
        """A context in which the forward pass runs in the chosen precision."""
        return torch.autocast(self.device.type, dtype=self.autocast) if self.autocast else nullcontext()

    def place(self, thing: Tensor | nn.Module) -> Tensor | nn.Module:
        """`thing` on the device, images (4-D) and convolutional models in channels-last order where that is chosen."""
        thing = thing.to(self.device)
        if self.channels_last and (isinstance(thing, nn.Module) or thing.dim() == 4):
            thing = thing.to(memory_format=torch.channels_last)
        return thing

    @contextmanager
    def tuned(self):
        """Let cuDNN time its kernels once for each shape: a run has few shapes and many steps."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = before or self.device.type == "cuda"
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before

    def reset_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory(self) -> float:
        """MiB: most that tensors held (CUDA), or most that the process held (CPU; NaN where the system cannot say)."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        if resource is None:
            return float("nan")
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB on Linux


def find_device(device: str | torch.device = "auto") -> torch.device:
    """The device of a name; "auto": CUDA if there is one, else the CPU. ValueError for one that is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device={device!r} is unknown: give 'auto', 'cpu', 'cuda' or one such as 'cuda:1'") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={str(found)!r}, but torch sees no CUDA device: give device='cpu' or 'auto'")
    return found


def runtime(model: nn.Module, *, device="auto", precision="auto", compile="auto") -> Runtime:
    """Resolve the three choices. Auto: CUDA, with bfloat16 autocast and torch.compile, if there is one; else none of
    it.

    Channels-last goes with CUDA and a model that holds 2-D convolutions. Raises ValueError for a device that is not
    there or an unknown precision.
    """
    device = find_device(device)
    cuda = device.type == "cuda"
    if precision == "auto":
        precision = "bfloat16" if cuda else "float32"
    if precision not in _PRECISIONS:
        raise ValueError(f"precision={precision!r} is unknown: give 'auto', {' or '.join(map(repr, _PRECISIONS))}")
    has_conv = any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in model.modules())
    return Runtime(device, _PRECISIONS[precision], cuda if compile == "auto" else bool(compile), cuda and has_conv)
