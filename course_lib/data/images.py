"""MNIST and CIFAR-10 from files: read, checked, never unpickled; downloaded only on request.

MNIST (LeCun, Cortes and Burges) in idx files, CIFAR-10 (Krizhevsky 2009) in its binary version. They are looked for
under the folder given, or the one that the environment variable COURSE_DATA names, where torchvision and the archives
put them:

    FOLDER/MNIST/raw/train-images-idx3-ubyte, ...      also as .gz, also in FOLDER itself
    FOLDER/cifar-10-batches-bin/data_batch_1.bin, ...  also in FOLDER itself
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# SHA-256 of the idx files, unpacked
MNIST = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# SHA-1 of the published archive's members, as MXNet's gluon.data.vision has them
CIFAR10 = {
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}
RECORD = 1 + 3 * 32 * 32  # a label byte, then the red, green and blue planes


class DataError(ValueError):
    """A data file is missing, of the wrong size or kind, or altered; the message names it and the mend."""


@dataclass(frozen=True)
class ImageData:
    """Images uint8 (n, channels, height, width) and class numbers int64 (n,), for training and for testing.

    name      "MNIST", "CIFAR-10", or what the caller called an altered copy
    checksum  SHA-256 of all files' bytes in order, for the record of a run
    """

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    name: str
    checksum: str

    def first(self, n: int, n_test: int) -> ImageData:
        """The first n training and n_test test images, under the same name with their numbers."""
        name = f"{self.name}, first {n} + {n_test}"
        return ImageData(self.x[:n], self.y[:n], self.x_test[:n_test], self.y_test[:n_test], name, self.checksum)


def mnist(
    folder: str | os.PathLike | None = None, *, download: bool = False, verify: bool = True, name: str = "MNIST"
) -> ImageData:
    """MNIST, 60,000 + 10,000 images (1, 28, 28). Raises DataError; `verify=False` takes altered files, under `name`."""
    root = _root(folder, "MNIST", MNIST, ("MNIST/raw", "."), download, _download_mnist)
    parts, digest = [], hashlib.sha256()
    for file, known in MNIST.items():
        raw = _read(root / file)
        digest.update(raw)
        count = 60_000 if file.startswith("train") else 10_000
        shape = (count, 28, 28) if "images" in file else (count,)
        magic = 2048 + len(shape)  # two zero bytes, type 8 (unsigned byte), number of dimensions
        header = 4 + 4 * len(shape)
        if len(raw) < header or struct.unpack(">I", raw[:4])[0] != magic:
            raise DataError(f"{root / file}: does not begin with the idx magic number {magic}; {_MEND['MNIST']}")
        if struct.unpack(f">{len(shape)}I", raw[4:header]) != shape or len(raw) != header + np.prod(shape):
            raise DataError(
                f"{root / file}: has {len(raw)} bytes unpacked, not {header + np.prod(shape)}: cut short or not "
                f"the published file; {_MEND['MNIST']}"
            )
        if verify and hashlib.sha256(raw).hexdigest() != known:
            raise DataError(f"{root / file}: SHA-256 differs from the published file's; {_MEND['MNIST']}{_ALTERED}")
        parts.append(torch.from_numpy(np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy()))
    x, y, x_test, y_test = parts
    return ImageData(x[:, None], y.long(), x_test[:, None], y_test.long(), name, digest.hexdigest())


def cifar10(
    folder: str | os.PathLike | None = None, *, download: bool = False, verify: bool = True, name: str = "CIFAR-10"
) -> ImageData:
    """CIFAR-10, 50,000 + 10,000 images (3, 32, 32).

    Raises DataError; `verify=False` takes altered files, under `name`.
    """
    root = _root(folder, "CIFAR-10", CIFAR10, ("cifar-10-batches-bin", "."), download, _download_cifar10)
    xs, ys, digest = [], [], hashlib.sha256()
    for file, known in CIFAR10.items():
        raw = _read(root / file)
        digest.update(raw)
        if len(raw) != 10_000 * RECORD:
            raise DataError(
                f"{root / file}: has {len(raw)} bytes, not {10_000 * RECORD}: cut short or not the binary "
                f"version; {_MEND['CIFAR-10']}"
            )
        table = np.frombuffer(raw, np.uint8).reshape(-1, RECORD)
        if table[:, 0].max() > 9:
            raise DataError(
                f"{root / file}: holds labels above 9, so it is not CIFAR-10's binary version; {_MEND['CIFAR-10']}"
            )
        if verify and hashlib.sha1(raw, usedforsecurity=False).hexdigest() != known:
            raise DataError(f"{root / file}: SHA-1 differs from the published file's; {_MEND['CIFAR-10']}{_ALTERED}")
        xs.append(torch.from_numpy(table[:, 1:].reshape(-1, 3, 32, 32).copy()))
        ys.append(torch.from_numpy(table[:, 0].astype(np.int64)))
    return ImageData(torch.cat(xs[:5]), torch.cat(ys[:5]), xs[5], ys[5], name, digest.hexdigest())


_MEND = {name: f"get it with: python -m course_lib data {name.lower()}" for name in ("MNIST", "CIFAR-10")}
_ALTERED = ", or pass verify=False (--no-verify) to use it as it is"


def _root(folder, name: str, files: dict[str, str], below: tuple[str, ...], download: bool, fetch) -> Path:
    """The folder that holds the files: below the one given, below COURSE_DATA, or where the download put them."""
    given = folder or os.environ.get("COURSE_DATA")
    if given is None:
        if download:
            return fetch()
        raise DataError(
            f"{name}: no folder given: pass one (--data FOLDER, or the variable COURSE_DATA), or {_MEND[name]}"
        )
    first = next(iter(files))
    for sub in below:
        root = Path(given) / sub
        if any((root / (first + end)).exists() for end in ("", ".gz")):
            return root
    if download:
        return fetch()
    raise DataError(
        f"{Path(given) / below[0] / first}: no such file; give the folder that holds {name}, or {_MEND[name]}"
    )


def _read(path: Path) -> bytes:
    """The file's bytes, unpacked where only a .gz is there."""
    packed = path.with_name(path.name + ".gz")
    kind = "MNIST" if path.name in MNIST else "CIFAR-10"
    try:
        if path.exists() or not packed.exists():
            return path.read_bytes()
        path = packed
        return gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; {_MEND[kind]}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, not a file; {_MEND[kind]}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); {_MEND[kind]}") from error


def _download_mnist() -> Path:
    from .download import fetch_mnist

    return fetch_mnist()


def _download_cifar10() -> Path:
    from .download import fetch_cifar10

    return fetch_cifar10()
