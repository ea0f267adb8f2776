"""Download MNIST and CIFAR-10 once, through pooch, checked by SHA-256, into the user's cache folder."""

from __future__ import annotations

from pathlib import Path

import pooch

# SHA-256 of the archives as published
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_ARCHIVES = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"


class DownloadError(ConnectionError):
    """The download failed, or what came is not the published file."""


def fetch_mnist(cache: str | Path | None = None) -> Path:
    """The folder of the four .gz files, after downloading those that are missing. Raises DownloadError."""
    folder = _cache(cache) / "MNIST" / "raw"
    for name, sha256 in MNIST_ARCHIVES.items():
        _retrieve(MNIST_URL + name, sha256, folder, name, None)
    return folder


def fetch_cifar10(cache: str | Path | None = None) -> Path:
    """The folder of the six .bin files, after downloading and unpacking the archive if need be.

    Raises DownloadError.
    """
    name = "cifar-10-binary.tar.gz"
    _retrieve(CIFAR10_URL, CIFAR10_SHA256, _cache(cache), name, pooch.Untar(extract_dir="."))
    return _cache(cache) / "cifar-10-batches-bin"


def _cache(cache: str | Path | None) -> Path:
    return Path(cache) if cache is not None else Path(pooch.os_cache("course_lib"))


def _retrieve(url: str, sha256: str, folder: Path, name: str, processor) -> None:
    try:
        pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname=name, path=folder, processor=processor, progressbar=True
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; pooch reports another hash as a ValueError
        reason = str(error).splitlines()[0]
        raise DownloadError(
            f"{url}: {reason}; try again, or fetch it by hand and pass its folder (--data FOLDER)"
        ) from error
