"""Whether images are Fashion-MNIST's, in whatever file, order, number or division they come.

Kaggle's tables, for one, have the same 70,000 images, but divided into training and test images in
another way than the original. `fashion_mnist.bits` has a bit set for each image with its label, at
a digest of both. A strange image finds its bit set in one of thirty cases, so that a set of them is
never taken for Fashion-MNIST's.
"""

from __future__ import annotations

import hashlib
import lzma
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.dataset import Dataset

BITS_FILE = Path(__file__).with_name("fashion_mnist.bits")
_BITS = 1 << 21
_SHARE = 0.9  # the rest may have been relabelled, or added


def is_fashion_mnist(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> bool:
    """Whether nine of ten images at least, uint8 (n, 28, 28, 1), are Fashion-MNIST's, with their
    label in Fashion-MNIST's order of the classes, int64 (n,)."""
    if images.shape[1:] != (28, 28, 1) or labels.min() < 0 or labels.max() > 9:
        return False
    return bool(_known()[_places(images, labels)].mean() >= _SHARE)


def bits_of(dataset: Dataset) -> bytes:
    """Return the content of `fashion_mnist.bits`, made from the original."""
    bits = np.zeros(_BITS, np.bool_)
    assert dataset.official_images is not None
    assert dataset.official_labels is not None
    for images, labels in (
        (dataset.images, dataset.labels),
        (dataset.official_images, dataset.official_labels),
    ):
        bits[_places(images, labels)] = True
    return lzma.compress(np.packbits(bits).tobytes(), preset=9)


def _places(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    digests = (
        hashlib.sha256(image.tobytes() + bytes([label])).digest()
        for image, label in zip(images, labels.tolist(), strict=True)
    )
    return np.array([int.from_bytes(digest[:4], "little") % _BITS for digest in digests])


@cache
def _known() -> NDArray[np.bool_]:
    packed = np.frombuffer(lzma.decompress(BITS_FILE.read_bytes()), np.uint8)
    return np.unpackbits(packed).astype(np.bool_)
