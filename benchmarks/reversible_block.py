"""The reversible Hamiltonian block against plain autograd, checkpoints, MemCNN and RevLib: time and memory of a step.

    python benchmarks/reversible_block.py [--depth 32]

A block of 32 + 32 channels on 16 × 16 images, batch 64, ReLU, one kernel, symplectic Euler with h = 0.1, channels-last.
All candidates compute the same numbers (checked) and take turns, five rounds; times are medians. "convolutions alone"
is what plain training cannot do without: the forward convolutions and their products with derivatives, nothing else.
"checkpoints" is torch.utils.checkpoint over about √depth pieces of the plain block. Memory is the peak of the tensors
alive (course_lib.memory), not resident memory, which misleads. Peers that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import importlib
import json
import warnings
from collections.abc import Callable

import torch
from common import about, keep, over, spreads, turns
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from course_lib.hamiltonian import HamiltonianConv2d
from course_lib.memory import peak_bytes, saved_bytes

CHANNELS, SIZE, BATCH, H, ROUNDS = 64, 16, 64, 0.1, 5
DEPTHS = (8, 16, 32, 64, 128)  # of the memory


def block(depth: int, *, reversible: bool) -> HamiltonianConv2d:
    generator = torch.Generator().manual_seed(0)
    made = HamiltonianConv2d(CHANNELS, steps=depth, h=H, method="symplectic_euler", reversible=reversible,
                             generator=generator)
    return made.to(memory_format=torch.channels_last)


class Half(nn.Module):
    """h σ(K z + b1) or h σ(-Kᵀ y + b2) of a block, as the peers want it: one module a half."""

    def __init__(self, of: HamiltonianConv2d, half: str):
        super().__init__()
        self.of, self.half = of, half

    def forward(self, x: Tensor) -> Tensor:
        field = self.of.field()
        return H * (field.f(0.0, x) if self.half == "y" else field.g(0.0, x))


class Peer(nn.Module):
    """A block whose two halves a peer couples; the peers hold z first, so the halves are exchanged at both ends."""

    def __init__(self, of: HamiltonianConv2d, coupled: nn.Module):
        super().__init__()
        self.of, self.coupled = of, coupled

    def forward(self, x: Tensor) -> Tensor:
        y, z = x.chunk(2, 1)
        z, y = self.coupled(torch.cat((z, y), 1)).chunk(2, 1)
        return torch.cat((y, z), 1)


def revlib_block(depth: int) -> nn.Module:
    revlib = importlib.import_module("revlib")
    of = block(depth, reversible=False)
    halves = [Half(of, "z"), Half(of, "y")]
    return Peer(of, revlib.ReversibleSequential(*halves * depth, split_dim=1))


def memcnn_block(depth: int) -> nn.Module:
    memcnn = importlib.import_module("memcnn")
    of = block(depth, reversible=False)
    couplings = [memcnn.AdditiveCoupling(Fm=Half(of, "z"), Gm=Half(of, "y")) for _ in range(depth)]
    wrapped = [memcnn.InvertibleModuleWrapper(c, keep_input=False, keep_input_inverse=False) for c in couplings]
    return Peer(of, nn.Sequential(*wrapped))


class Checkpointed(nn.Module):
    """Plain layers of one step each that share the weights, in about √depth pieces, each computed again when needed."""

    def __init__(self, depth: int, one: nn.Module):
        super().__init__()
        self.one, self.depth = one, depth

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint_sequential([self.one] * self.depth, round(self.depth**0.5), x, use_reentrant=False)


def convolutions_alone(depth: int) -> Callable[[Tensor], None]:
    """2·depth convolutions and the products of each with the derivatives of its output: plain training's, no more."""
    layer = block(1, reversible=False)
    W = layer.K[0].detach()

    def run(x: Tensor) -> None:
        y, z = (half.contiguous(memory_format=torch.channels_last) for half in x.detach().chunk(2, 1))
        for _ in range(depth):
            layer.map.adjoint(W, y)
            layer.map.apply(W, z)
            layer.map.adjoint_vjp(W, y, y)
            layer.map.apply_vjp(W, z, z)

    return run


def gradients(net: nn.Module, x: Tensor) -> Tensor:
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    net.zero_grad(set_to_none=True)
    net(x).square().sum().backward()
    return torch.cat([x.grad.flatten(), *(p.grad.flatten() for p in net.parameters())])


def measure(depth: int) -> dict:
    x = torch.randn(BATCH, CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    x = x.contiguous(memory_format=torch.channels_last)
    nets = {"plain autograd": block(depth, reversible=False), "reversible": block(depth, reversible=True)}
    nets["checkpoints"] = Checkpointed(depth, block(1, reversible=False))
    missing = []
    for name, make in (("RevLib", revlib_block), ("MemCNN", memcnn_block)):
        try:
            nets[name] = make(depth)
        except ImportError:
            missing.append(name)
    truth = gradients(nets["plain autograd"], x)
    errors = {name: float((gradients(net, x) - truth).norm() / truth.norm()) for name, net in nets.items()}
    alone = convolutions_alone(depth)
    runs = {name: lambda net=net: gradients(net, x) for name, net in nets.items()}
    runs["convolutions alone"] = lambda: alone(x)
    times = turns(runs, rounds=ROUNDS)
    return {
        "depth": depth, "ms": spreads(times), "missing": missing, "gradient error against plain": errors,
        "time over": {name: over(times, "reversible", name) for name in times if name != "reversible"},
    }


def memory() -> dict:
    x = torch.randn(BATCH, CHANNELS, SIZE, SIZE, generator=torch.Generator().manual_seed(1))

    def there(net: nn.Module) -> list[Tensor]:
        return [x, *net.parameters()]

    kept = {}
    for depth in (8, 256):
        net = block(depth, reversible=True)
        kept[depth] = saved_bytes(lambda net=net: net(x), exclude=there(net))
    peak: dict[str, dict[int, int]] = {}
    for depth in DEPTHS:
        nets = {"plain autograd": block(depth, reversible=False), "reversible": block(depth, reversible=True)}
        for name, net in (nets | {"checkpoints": Checkpointed(depth, block(1, reversible=False))}).items():
            bytes_ = peak_bytes(lambda net=net: net(x).square().sum().backward(), exclude=there(net))
            peak.setdefault(name, {})[depth] = bytes_
    ratio = peak["plain autograd"][128] / peak["reversible"][128]
    return {"kept bytes by depth": kept, "peak bytes by depth": peak, "ratio at depth 128": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)  # MemCNN's, about torch.cuda.amp
    result = about() | {"time": measure(options.depth), "memory": memory()}
    keep("reversible_block", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
