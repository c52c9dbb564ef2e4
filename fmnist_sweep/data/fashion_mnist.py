"""Finds and verifies Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747)."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import FashionMnistData
from fmnist_sweep.data.dataset import FASHION_MNIST_CLASSES, Dataset
from fmnist_sweep.data.packed import kind_of
from fmnist_sweep.errors import DataError
from fmnist_sweep.runtime import data_dir_from_environment, keras_home, load_tensorflow

NAME = "fashion-mnist"
TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
# Digests of the decompressed files with headers, because mirrors compress differently.
SHA256 = {
    TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28
_LARGEST = 16 + 60000 * SIDE * SIDE  # bytes, header included


def load_configured(config: FashionMnistData) -> Dataset:
    """Read Fashion-MNIST from `config.dir`, else from FMNIST_DATA_DIR, as `load_fashion_mnist`."""
    folder = config.dir if config.dir is not None else data_dir_from_environment()
    return load_fashion_mnist(None if folder is None else Path(folder))


def load_fashion_mnist(directory: Path | None) -> Dataset:
    """Read Fashion-MNIST and verify the SHA-256 of each of its four files.

    With a `directory`, reads only from there; without one, tries the system folder, the Keras cache
    and a download by Keras, in that order. Files may be gzipped. Returns 60,000 training and 10,000
    official test images of shape (28, 28, 1). Raises DataError if a file is missing, truncated or
    altered, or no source is available.
    """
    if directory is not None:
        try:
            return _from_folder(directory.expanduser())
        except RuntimeError as error:  # ~ of a user that does not exist
            raise DataError(f"{directory} (data.dir or FMNIST_DATA_DIR): {error}") from error
    keras_cache = Path(keras_home()).expanduser() / "datasets" / "fashion-mnist"
    for folder in (SYSTEM_FOLDER, keras_cache):
        if all(_find(folder, name) for name in SHA256):
            return _from_folder(folder)
    return _from_download(keras_cache)


def _from_folder(folder: Path) -> Dataset:
    return _dataset({name: _read(folder, name) for name in SHA256}, source=str(folder))


def _find(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}.gz", folder / name)
    try:
        return next((path for path in candidates if path.is_file()), None)
    except OSError as error:  # a name that is too long, or missing permissions
        raise DataError(
            f"{str(folder)[:200]} (data.dir or FMNIST_DATA_DIR) cannot be read: {error.strerror}"
        ) from error


def _read(folder: Path, name: str) -> bytes:
    path = _find(folder, name)
    if path is None:
        raise DataError(
            f"{folder / name}[.gz] is missing: the folder (data.dir or FMNIST_DATA_DIR) must hold "
            f"{', '.join(SHA256)}, gzipped or not; "
            f"expected SHA-256 of its content: {SHA256[name]}"
        )
    content = bytearray()
    damage = ""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # Never reads more than the largest of the four files, whatever the file decompresses
            # to.
            while len(content) <= _LARGEST and (chunk := file.read(1 << 20)):
                content += chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        damage = f" is damaged ({error}; found {kind_of(path)}):"
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    _verify(content, name, described=f"{path}{damage}", damaged=bool(damage))
    return bytes(content)


def _verify(content: bytes | bytearray, name: str, described: str, damaged: bool = False) -> None:
    found = hashlib.sha256(content).hexdigest()
    if damaged or found != SHA256[name]:
        raise DataError(
            f"{described} has content with SHA-256 {found}, expected {SHA256[name]}; "
            "replace the file with the original"
        )


def _from_download(keras_cache: Path) -> Dataset:
    try:
        # Imported here: Keras takes seconds to import, and no other source needs it.
        load_tensorflow()  # without log output, since Keras imports it
        import keras

        (x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception if the network fails.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            "Fashion-MNIST was not found; do one of the following: "
            "set data.dir (or FMNIST_DATA_DIR) to a folder with its four files; "
            f"install the Debian package dataset-fashion-mnist ({SYSTEM_FOLDER}); "
            f"put the files into the Keras cache ({keras_cache}); "
            f"or let Keras download them, which failed: {reason}"
        ) from error
    contents = {
        TRAIN_IMAGES: _idx(x_train),
        TRAIN_LABELS: _idx(y_train),
        TEST_IMAGES: _idx(x_test),
        TEST_LABELS: _idx(y_test),
    }
    for name, content in contents.items():
        _verify(content, name, described=f"{name}, downloaded by Keras,")
    return _dataset(contents, source="download through Keras")


def _idx(array: NDArray[np.uint8]) -> bytes:
    """Convert an array back to its original file format, whose digest is known."""
    unsigned_byte = 0x08
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, unsigned_byte, array.ndim, *array.shape)
    return header + array.tobytes()


def _dataset(contents: dict[str, bytes], source: str) -> Dataset:
    return Dataset(
        name=NAME,
        source=source,
        images=_images(contents[TRAIN_IMAGES]),
        labels=_labels(contents[TRAIN_LABELS]),
        official_images=_images(contents[TEST_IMAGES]),
        official_labels=_labels(contents[TEST_LABELS]),
        class_names=FASHION_MNIST_CLASSES,
    )


def _images(verified: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(verified, np.uint8, offset=16).reshape(-1, SIDE, SIDE, 1)


def _labels(verified: bytes) -> NDArray[np.int64]:
    return np.frombuffer(verified, np.uint8, offset=8).astype(np.int64)
