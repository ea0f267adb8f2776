"""The published run of the Hamiltonian network on CIFAR-10, epoch by epoch, as its author's notebook printed it.

Source: S. Rome, repository ``srome/keras-ode``, ``examples/training.ipynb`` (June 2018), the log of the training that
the post reports as 90.37 %. Seconds are whole, as printed; losses contain the weight penalty.
"""

from __future__ import annotations

import csv
import hashlib
from importlib import resources

from ..train import History

FILE = "rome2018_history.csv"
SHA256 = "f542fda6388a400e77741f9e874562b9ebf511e5ca649c6ccd441fb6fcf60251"


def published_history() -> History:
    """The 327 epochs as a ``History``: loss, seconds since the start, metrics accuracy, val_loss and val_accuracy.

    Accuracies are shares; the validation data were the test images. What the log does not give is NaN.

    Raises
    ------
    ValueError
        If the file in the package is not the one that was published with it.
    """
    raw = resources.files("course_lib.data").joinpath(FILE).read_bytes().replace(b"\r\n", b"\n")
    if (found := hashlib.sha256(raw).hexdigest()) != SHA256:
        raise ValueError(f"{FILE}: SHA-256 {found[:12]}… is not {SHA256[:12]}…; install course_lib again.")
    rows = list(csv.DictReader(raw.decode("ascii").splitlines()))
    columns = {key: [float(row[key]) for row in rows] for key in ("sec", "loss", "acc", "val_loss", "val_acc")}
    seconds = [sum(columns["sec"][: k + 1]) for k in range(len(rows))]
    unknown = [float("nan")] * len(rows)
    metrics = {"accuracy": columns["acc"], "val_loss": columns["val_loss"], "val_accuracy": columns["val_acc"]}
    return History(
        loss=columns["loss"], metrics=metrics, nfe_forward=unknown, nfe_backward=unknown, grad_norm=unknown, lr=unknown,
        seconds=seconds, peak_memory=unknown,
    )
