"""The dataset: images and labels, as every later stage uses them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

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
    """Training images and, if present, an official test set.

    `images` and `official_images`: uint8, (n, height, width, channels), pixels 0..255;
    `labels` and `official_labels`: int64, (n,), 0..classes-1. `name` is short (`fashion-mnist`),
    `source` says where the data was read from. `synthetic` marks generated data, so that its runs
    are not taken for real results.
    """

    name: str
    source: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    official_images: NDArray[np.uint8] | None
    official_labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    synthetic: bool = False

    def __post_init__(self) -> None:
        """Reject labels that TensorFlow would fail on during training.

        Raises:
            DataError: the numbers of labels and images differ, or labels are not in 0..classes-1.
        """
        for name, images, labels in (
            ("labels", self.images, self.labels),
            ("official_labels", self.official_images, self.official_labels),
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

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the shapes and contents of all four arrays, in hex."""
        digest = hashlib.sha256()
        for array in (self.images, self.labels, self.official_images, self.official_labels):
            if array is None:
                digest.update(b"none;")
                continue
            # Little-endian, so that the digest is the same on every machine.
            portable = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{portable.dtype.str}{portable.shape};".encode())
            digest.update(portable.data)
        return digest.hexdigest()


def run_name(label: str, dataset: Dataset) -> str:
    """Return the name of a run with that label on that data; it shows if the data is synthetic."""
    if dataset.synthetic and not label.startswith(_SYNTHETIC):
        return f"{_SYNTHETIC}{label}"
    return label
