"""MNIST's ODE-Net: the recipe's training beside the loop of torchdiffeq's published script.

    python benchmarks/mnist_epoch.py --data FOLDER [--error 0.005] [--epochs 40] [--runs 5]   # on a GPU
    python benchmarks/mnist_epoch.py --data FOLDER --images 5120 [--runs 5]                   # anywhere
    python benchmarks/mnist_epoch.py --small        # the embedded digits, on whatever is there: shows that it runs

Same network, method, tolerance, batch, rate and crops, both by backpropagation through the solver. The peer's loop is
the script's in our words: torchdiffeq's odeint on a field that joins the time to the state as one more channel, torch's
SGD, a DataLoader whose crops are made image by image. Counted is the time of the first epochs, each of a new network
and in turn: on a GPU by the clock, on a CPU that of the one thread. On a GPU also the time of a run until the error on
the test images is at most --error, or until --epochs have passed. Oracle: before the first step, in double precision
and at a tolerance of 1e-7, loss and gradients agree to two per cent; at 1e-3 each takes steps of its own, and the kinks
of ReLU make more of that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from common import about, keep, over, spread
from neural_ode import Peer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad, relu
from torch.utils.data import DataLoader, Dataset

from course_lib.data import mnist
from course_lib.neural_ode import NeuralODE
from course_lib.recipes.base import enlarged_digits
from course_lib.recipes.mnist_models import model
from course_lib.train import Augmentation, fit

BATCH, RATE, SHIFT = 128, 0.1, 4


class Cropped(Dataset):
    """Images in [0, 1], each shifted at random whenever it is asked for."""

    def __init__(self, x: Tensor, y: Tensor):
        self.x, self.y, self.size = x, y, x.shape[-1]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        row, column = torch.randint(2 * SHIFT + 1, (2,)).tolist()
        image = pad(self.x[i], [SHIFT] * 4)[:, row : row + self.size, column : column + self.size]
        return image, self.y[i]


class Concatenated(nn.Module):
    """The recipe's field, with its weights, evaluated as the script does: the time is a channel of every image."""

    def __init__(self, field: nn.Module):
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        f = self.field
        for norm, conv in ((f.norm1, f.conv1), (f.norm2, f.conv2)):
            x = relu(norm(x))
            x = conv(torch.cat((torch.ones_like(x[:, :1]) * t, x), 1))
        return f.norm3(x)


def network(solver: str, device: torch.device, tolerance: float = 1e-3) -> nn.Module:
    """The recipe's RK-Net, or the same with the script's block in the place of ours."""
    torch.manual_seed(0)
    net = model("rknet", tolerance=tolerance)
    at = next(i for i, m in enumerate(net) if isinstance(m, NeuralODE))
    if solver == "torchdiffeq":
        net[at] = Peer(Concatenated(net[at].field), rtol=tolerance, atol=tolerance)
    return net.to(device)


def ours(net: nn.Module, data: list[Tensor], epochs: int, error: float | None, device: torch.device) -> int:
    x, y, x_test, y_test = data
    watch = {} if error is None else {"metrics": "accuracy", "validation": (x_test, y_test), "target": 1 - error,
                                      "monitor": "val_accuracy"}
    history = fit(net, (x, y), "cross_entropy", seed=0, epochs=epochs, optimizer="sgd", lr=RATE,
                  options={"momentum": 0.9}, batch_size=BATCH, drop_last=True, augment=Augmentation(SHIFT),
                  device=device, precision="float32", compile=False, progress=False, **watch)
    return history.epochs


def theirs(net: nn.Module, data: list[Tensor], epochs: int, error: float | None, device: torch.device) -> int:
    x, y, x_test, y_test = data
    loader = DataLoader(Cropped(x, y), batch_size=BATCH, shuffle=True, drop_last=True,
                        num_workers=2 if device.type == "cuda" else 0)
    opt = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9)
    for epoch in range(epochs):
        net.train()
        for images, labels in loader:
            opt.zero_grad()
            cross_entropy(net(images.to(device)), labels.to(device)).backward()
            opt.step()
        if error is not None and wrong(net.eval(), x_test, y_test, device) <= error:
            return epoch + 1
    return epochs


@torch.no_grad()
def wrong(net: nn.Module, x: Tensor, y: Tensor, device: torch.device) -> float:
    """Share of images that are misread."""
    pairs = zip(x.split(1000), y.split(1000), strict=True)
    return sum((net(a.to(device)).argmax(1).cpu() != b).sum().item() for a, b in pairs) / len(x)


def seconds(run: Callable[[], object], device: torch.device) -> tuple[float, object]:
    def now() -> float:
        if device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    start = now()
    found = run()
    return now() - start, found


def difference(data: list[Tensor], device: torch.device) -> float:
    """How far the two are apart before the first step, loss and gradients."""
    found = []
    for solver in ("own", "torchdiffeq"):
        net = network(solver, device, 1e-7).double()
        loss = cross_entropy(net(data[0][:8].double().to(device)), data[1][:8].to(device))
        slopes = torch.autograd.grad(loss, list(net.parameters()))
        found.append(torch.cat([loss.detach().view(1), *(g.flatten() for g in slopes)]))
    return ((found[0] - found[1]).norm() / found[1].norm()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder that holds MNIST")
    parser.add_argument("--error", type=float, default=0.005, help="test error to reach")
    parser.add_argument("--epochs", type=int, default=40, help="most epochs to reach it in")
    parser.add_argument("--runs", type=int, default=5, help="epochs timed, each of a new network")
    parser.add_argument("--images", type=int, help="train on so many images alone, and on no run to --error")
    parser.add_argument("--small", action="store_true", help="the embedded digits, nothing is written")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not options.small and not (options.data and (options.images or device.type == "cuda")):
        parser.error("this needs --data FOLDER and a GPU or --images N; --small runs anywhere")
    torch.set_num_threads(1)
    images = enlarged_digits(16, 1, n=256, n_test=128) if options.small else mnist(options.data)
    x, y = images.x[: options.images], images.y[: options.images]
    data = [x.float() / 255, y, images.x_test.float() / 255, images.y_test]
    apart = difference(data, device)
    if not apart < 2e-2:
        raise AssertionError(f"the two differ by {apart:.1e} before the first step")
    kinds = {"ours": ("own", ours), "torchdiffeq's script": ("torchdiffeq", theirs)}
    epoch: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(2 if options.small else options.runs):
        for name, (solver, train) in kinds.items():
            net = network(solver, device)
            epoch[name].append(seconds(lambda: train(net, data, 1, None, device), device)[0])  # noqa: B023
    result = about("torchdiffeq") | {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread",
        "images": len(x), "difference": apart, "epoch, s": {name: spread(row) for name, row in epoch.items()},
        "ratio": over(epoch, "torchdiffeq's script", "ours"),
    }  # fmt: skip
    if not options.small and not options.images:
        for name, (solver, train) in kinds.items():
            net = network(solver, device)
            took, epochs = seconds(lambda: train(net, data, options.epochs, options.error, device), device)  # noqa: B023
            error = wrong(net.eval(), data[2], data[3], device)
            result[f"to {options.error:g}, {name}"] = {"s": took, "epochs": epochs, "error": error}
    if not options.small:
        keep(f"mnist_epoch_{device.type}", result)
    print(result)


if __name__ == "__main__":
    main()
