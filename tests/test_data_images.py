"""MNIST and CIFAR-10 files: read right, and each fault said in one line that names the file and the mend."""

import functools
import gzip
import hashlib
import http.server
import os
import struct
import threading

import numpy as np
import pytest
import torch

from course_lib.data import DataError, cifar10, mnist
from course_lib.data import images as module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Both sets in the published layouts and sizes, with contents of our own."""
    folder = tmp_path_factory.mktemp("data")
    raw, batches = folder / "MNIST" / "raw", folder / "cifar-10-batches-bin"
    raw.mkdir(parents=True)
    batches.mkdir()
    for k, name in enumerate(module.MNIST):
        n, shape = (60_000 if name.startswith("train") else 10_000), ((28, 28) if "images" in name else ())
        with open(raw / name, "wb") as file:
            file.write(struct.pack(f">I{1 + len(shape)}I", 2049 + len(shape), n, *shape))
            file.write(bytes([0, 1, 2, 3, k]))
            file.truncate(4 * (2 + len(shape)) + n * 28 ** len(shape))
    for k, name in enumerate(module.CIFAR10):
        with open(batches / name, "wb") as file:
            file.write(bytes([k]) + bytes(range(256)) * 12)
            file.truncate(10_000 * 3073)
    return folder


def test_mnist_is_read(made):
    data = mnist(made, verify=False, name="zeros")
    assert data.x.shape == (60_000, 1, 28, 28) and data.x_test.shape == (10_000, 1, 28, 28)
    assert data.y[:4].tolist() == [0, 1, 2, 3] and data.x[0, 0, 0, :4].tolist() == [0, 1, 2, 3]
    assert data.y[4] == 1 and data.x[0, 0, 0, 4] == 0 and data.y_test[4] == 3 and data.x_test[0, 0, 0, 4] == 2
    files = b"".join((made / "MNIST" / "raw" / name).read_bytes() for name in module.MNIST)
    assert data.name == "zeros" and data.checksum == hashlib.sha256(files).hexdigest()
    small = data.first(100, 10)
    assert torch.equal(small.x, data.x[:100]) and torch.equal(small.y, data.y[:100])
    assert torch.equal(small.x_test, data.x_test[:10]) and torch.equal(small.y_test, data.y_test[:10])
    assert small.name == "zeros, first 100 + 10" and small.checksum == data.checksum


def test_cifar10_is_read_plane_by_plane(made):
    data = cifar10(made, verify=False, name="CIFAR-10, JPEG copy")
    assert data.x.shape == (50_000, 3, 32, 32) and data.x_test.shape == (10_000, 3, 32, 32)
    assert data.y[::10_000].tolist() == [0, 1, 2, 3, 4] and data.y_test[0] == 5
    assert torch.equal(data.x[0].flatten(), torch.from_numpy(np.tile(np.arange(256, dtype=np.uint8), 12)))
    assert data.name == "CIFAR-10, JPEG copy"


def test_an_altered_copy_is_refused_unless_told(made):
    with pytest.raises(DataError, match=r"data_batch_1\.bin: SHA-1 differs .* verify=False"):
        cifar10(made)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: SHA-256 differs .* verify=False"):
        mnist(made)


@pytest.mark.parametrize(
    "fault,message",
    [
        ("missing", "no such file"),
        ("cut", "bytes unpacked, not"),
        ("magic", "idx magic number 2049"),
        ("folder", "is a folder"),
        ("empty", "idx magic number"),
        ("gz cut", "cannot be read"),
        ("gz noise", "cannot be read"),
    ],
)
def test_faults_of_an_mnist_file(made, tmp_path, fault, message):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in module.MNIST:
        (raw / name).symlink_to(made / "MNIST" / "raw" / name)
    path = raw / "t10k-labels-idx1-ubyte"
    whole = path.read_bytes()
    path.unlink()
    packed = raw / "t10k-labels-idx1-ubyte.gz"
    if fault == "folder":
        path.mkdir()
    elif fault == "gz cut":
        packed.write_bytes(gzip.compress(whole)[:-12])
    elif fault == "gz noise":
        packed.write_bytes(b"not gzip at all")
    elif fault != "missing":
        path.write_bytes({"cut": whole[:-1], "magic": b"\0\0\0\0" + whole[4:], "empty": b""}[fault])
    with pytest.raises(
        DataError, match=rf"t10k-labels-idx1-ubyte.*{message}.*python -m course_lib data mnist"
    ) as error:
        mnist(tmp_path, verify=False)
    assert "\n" not in str(error.value)


def test_packed_idx_files_are_read(made, tmp_path):
    for name in module.MNIST:
        packed = gzip.compress((made / "MNIST" / "raw" / name).read_bytes(), compresslevel=1)
        (tmp_path / f"{name}.gz").write_bytes(packed)
    assert mnist(tmp_path, verify=False).checksum == mnist(made, verify=False).checksum


@pytest.mark.parametrize(
    "fault,message",
    [
        ("missing", "no such file"),
        ("cut", "bytes, not 30730000"),
        ("folder", "is a folder"),
        ("label", "labels above 9"),
    ],
)
def test_faults_of_a_cifar_file(made, tmp_path, fault, message):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in module.CIFAR10:
        (folder / name).symlink_to(made / "cifar-10-batches-bin" / name)
    path = folder / "data_batch_3.bin"
    path.unlink()
    if fault == "folder":
        path.mkdir()
    elif fault in {"cut", "label"}:
        path.write_bytes(b"\x0b")
        os.truncate(path, 10_000 * 3073 - (fault == "cut"))
    with pytest.raises(DataError, match=rf"data_batch_3\.bin: .*{message}.*python -m course_lib data cifar-10"):
        cifar10(tmp_path, verify=False)


def test_the_folder_may_come_from_the_environment_or_not_at_all(made, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(made))
    assert len(mnist(verify=False).x) == 60_000
    monkeypatch.delenv("COURSE_DATA")
    with pytest.raises(DataError, match=r"MNIST: no folder given.*COURSE_DATA.*python -m course_lib data mnist"):
        mnist()
    with pytest.raises(DataError, match=r"data_batch_1\.bin: no such file"):
        cifar10(tmp_path)


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    from course_lib.data import download

    monkeypatch.setattr(download, "MNIST_URL", "http://127.0.0.1:9/")
    with pytest.raises(download.DownloadError, match=r"127\.0\.0\.1:9/train-images.*--data FOLDER") as error:
        download.fetch_mnist(tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_downloaded_is_kept_if_it_is_the_published_file_alone(tmp_path, monkeypatch):
    from course_lib.data import download

    site, cache, name = tmp_path / "site", tmp_path / "cache", "train-images-idx3-ubyte.gz"
    site.mkdir()
    (site / name).write_bytes(b"<html>not the file</html>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(download, "MNIST_URL", f"http://127.0.0.1:{server.server_port}/")
    try:
        with pytest.raises(download.DownloadError, match=f"{name}: .*hash") as error:
            download.fetch_mnist(cache)
        assert "\n" not in str(error.value) and not list(cache.rglob("*.gz"))
        known = {name: hashlib.sha256((site / name).read_bytes()).hexdigest()}
        monkeypatch.setattr(download, "MNIST_ARCHIVES", known)
        assert [path.name for path in download.fetch_mnist(cache).iterdir()] == [name]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.skipif("COURSE_DATA" not in os.environ, reason="needs the published files in COURSE_DATA")
def test_the_published_mnist_passes_its_checksums():
    data = mnist()
    assert data.y.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
