"""Several processes, GPUs or machines: Lightning Fabric, launched by torchrun, with distributed data parallel (DDP).

    torchrun --nproc-per-node=4 -m course_lib run cifar10-hamiltonian --data FOLDER --out FOLDER

Every process holds the model and takes its share of each global batch; gradients are averaged, so that N processes take
the steps that one would. Needs the extra `scale` (lightning-fabric).
"""

from __future__ import annotations

import os

import torch


def under_torchrun() -> bool:
    """Whether torchrun, or a launcher that sets the same variables, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ


def launch(*, accelerator: str = "auto"):
    """A launched Fabric over the processes that torchrun started: NCCL between GPUs, gloo between CPUs.

    Precision stays with `fit`. Raises ValueError, saying what to install, where lightning-fabric is missing.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ValueError("several processes need lightning-fabric: pip install 'course_lib[scale]'") from error
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    nodes = max(1, int(os.environ.get("WORLD_SIZE", "1")) // local)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=nodes, strategy="ddp")
    fabric.launch()
    return fabric
