"""The dataset: images and labels, as every later stage uses them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.errors import DataError

FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_SYNTHETIC = "synthetic-"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training images and, if present, an official test set and a set of its own for validation.

    `images`, `official_images` and `validation_images`: uint8, (n, height, width, channels), pixels
    0..255, in memory or mapped (`np.memmap`); `labels`, `official_labels` and `validation_labels`:
    int64, (n,), 0..classes-1. `name` is short (`fashion-mnist`), `source` says where the data was
    read from, `understood` in one line how a file of the user's was read. `synthetic` marks
    generated data, so that its runs are not taken for real results.
    """

    name: str
    source: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    official_images: NDArray[np.uint8] | None
    official_labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    synthetic: bool = False
    validation_images: NDArray[np.uint8] | None = None
    validation_labels: NDArray[np.int64] | None = None
    understood: str = ""

    def __post_init__(self) -> None:
        """Reject labels that TensorFlow would fail on during training.

        Raises:
            DataError: the numbers of labels and images differ, or labels are not in 0..classes-1.
        """
        for name, images, labels in (
            ("labels", self.images, self.labels),
            ("official_labels", self.official_images, self.official_labels),
            ("validation_labels", self.validation_images, self.validation_labels),
        ):
            if images is None or labels is None:
                continue
            if len(labels) != len(images):
                raise DataError(
                    f"{self.source}: {len(labels)} {name} for {len(images)} images; allowed: one "
                    "per image"
                )
            strays = labels[(labels < 0) | (labels >= self.classes)]
            if strays.size:
                raise DataError(
                    f"{self.source}: {name} contain {strays[0]}; allowed: "
                    f"0..{self.classes - 1} for {self.classes} classes"
                )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.images.shape[1:]
        return (height, width, channels)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    def with_understood(self, understood: str) -> Dataset:
        """Return the same dataset with another line about how it was read."""
        return replace(self, understood=understood)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the shapes and contents of all arrays, in hex."""
        digest = hashlib.sha256()
        arrays: list[NDArray[Any] | None] = [self.images, self.labels]
        arrays += [self.official_images, self.official_labels]
        if self.validation_images is not None:  # most data have none, nor had any once
            arrays += [self.validation_images, self.validation_labels]
        for array in arrays:
            if array is None:
                digest.update(b"none;")
                continue
            # Little-endian, so that the digest is the same on every machine.
            portable = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{portable.dtype.str}{portable.shape};".encode())
            digest.update(portable.data)
        return digest.hexdigest()


def in_words(shape: Sequence[int]) -> str:
    """Return an image's shape in words, such as `28\N{MULTIPLICATION SIGN}28`."""
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape))


def run_name(label: str, dataset: Dataset) -> str:
    """Return the name of a run with that label on that data; it shows if the data is synthetic."""
    if dataset.synthetic and not label.startswith(_SYNTHETIC):
        return f"{_SYNTHETIC}{label}"
    return label
