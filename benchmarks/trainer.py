"""The trainer beside a hand-written loop, and many seeds beside one: ``python benchmarks/trainer.py``.

Medians of ratios of neighbouring runs, in CPU seconds of the process, which other work on the machine disturbs least;
one thread. Targets: `fit` takes at most 5 % more than the loop for the same model and batches, and 32 seeds take at
most twice the time of one, for the width-16 nets of the chapters. Making the model, the optimizer and the trace all
count. Oracles: from the same weights `fit` ends where the loop by hand ends, to the last bit, and each of the seeds
together has the loss that `fit` gives it alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
from common import about, keep, over, turns
from torch import Tensor, nn

from course_lib.data import digits
from course_lib.train import fit, fit_seeds

POINTS = 160


class Residual(nn.Module):
    """The chapters' small net: in -> 16, ten residual layers, 16 -> out."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.opening, self.head = nn.Linear(n_in, 16), nn.Linear(16, n_out)
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.opening(x)
        for layer in self.layers:
            x = x + 0.1 * torch.tanh(layer(x))
        return self.head(x)


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def by_hand(model: nn.Module, x: Tensor, y: Tensor, loss: Callable, epochs: int, batch: int | None) -> None:
    """What one would write without the trainer, losses kept."""
    opt, order = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True), torch.Generator().manual_seed(0)
    losses = []
    for _ in range(epochs):
        total = 0.0
        pieces = torch.randperm(len(x), generator=order).split(batch) if batch else [slice(None)]
        for index in pieces:
            opt.zero_grad()
            value = loss(model(x[index]), y[index])
            value.backward()
            opt.step()
            total += value.item()
        losses.append(total / len(pieces))


def drawn(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def apart(a: nn.Module, b: nn.Module) -> float:
    """The largest difference of two models' weights."""
    return max((p - q).abs().max().item() for p, q in zip(a.parameters(), b.parameters(), strict=True))


def overhead(repeats: int) -> dict[str, dict[str, float]]:
    """Time of `fit` over that of the loop by hand, by problem; in the end the weights are the same."""
    split = digits(seed=0)
    x, y = torch.linspace(-1, 1, 512)[:, None], torch.sin(3 * torch.linspace(-1, 1, 512))[:, None]
    problems = {
        "conv net on digits, batch 64": (conv, split.x, split.y, nn.functional.cross_entropy, 2, 64),
        "residual net, batch 32": (lambda: Residual(1, 1), x, y, nn.functional.mse_loss, 20, 32),
        "residual net, full batch of 512": (lambda: Residual(1, 1), x, y, nn.functional.mse_loss, 300, None),
    }
    result = {}
    for name, (make, x, y, loss, epochs, batch) in problems.items():
        options = {"seed": 0, "epochs": epochs, "batch_size": batch, "lr": 1e-2, "device": "cpu", "progress": False}
        hand, fitted = drawn(make), drawn(make)
        by_hand(hand, x, y, loss, epochs, batch)
        fit(fitted, (x, y), loss, **options)
        if (difference := apart(hand, fitted)) > 0:
            raise AssertionError(f"{name}: fit and the loop by hand end {difference:.1e} apart")
        times = turns({
            "hand": lambda: by_hand(make(), x, y, loss, epochs, batch),  # noqa: B023
            "fit": lambda: fit(make(), (x, y), loss, **options),  # noqa: B023
        }, rounds=repeats)  # fmt: skip
        result[name] = over(times, "fit", "hand")
    return result


def alone_and_together(data: tuple[Tensor, Tensor], batch: int | None, epochs: int = 10, count: int = 3) -> float:
    """The largest relative difference between a seed's losses when it trains alone and with others."""
    options = {"epochs": epochs, "batch_size": batch, "lr": 1e-2}
    losses = fit_seeds(lambda s: Residual(1, 1), data, seeds=range(count), **options).history.loss
    worst = 0.0
    for seed, row in enumerate(losses):
        alone = fit(drawn(lambda: Residual(1, 1), seed), data, seed=seed, device="cpu", progress=False, **options).loss
        worst = max(worst, float(max(abs(a - b) / a for a, b in zip(alone, row, strict=True))))
    return worst


def seeds(repeats: int) -> dict[str, dict[str, dict[str, float]]]:
    """Time of 8, 32 and 128 seeds over that of one, trained by `fit` alone, by batch size; tracing included."""
    x, y = torch.linspace(-1, 1, POINTS)[:, None], torch.sin(3 * torch.linspace(-1, 1, POINTS))[:, None]
    result = {}
    for batch, epochs in ((10, 125), (32, 300), (None, 600)):
        if (difference := alone_and_together((x, y), batch)) > 1e-5:
            raise AssertionError(f"batch {batch}: a seed's loss alone and with others differs by {difference:.1e}")
        options = {"epochs": epochs, "batch_size": batch, "lr": 1e-2}
        jobs = {"1": lambda: fit(Residual(1, 1), (x, y), seed=0, device="cpu", progress=False, **options)}  # noqa: B023
        for n in (8, 32, 128):
            jobs[str(n)] = lambda n=n: fit_seeds(lambda s: Residual(1, 1), (x, y), seeds=range(n), **options)  # noqa: B023
        times = turns(jobs, rounds=repeats)
        result[f"batch {batch or f'of all {POINTS}'}"] = {n: over(times, n, "1") for n in jobs if n != "1"}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = about() | {
        "repeats": options.repeats, "fit over a loop by hand": overhead(4 * options.repeats),
        "seeds together over one alone": seeds(options.repeats),
    }  # fmt: skip
    keep("trainer", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
