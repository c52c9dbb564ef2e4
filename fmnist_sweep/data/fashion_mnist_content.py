"""Detects Fashion-MNIST's images, in any file, order, number or split.

Kaggle's tables, for example, have the same 70,000 images with a different division into training
and test images. `fashion_mnist.bits` is a Bloom filter: for each image with its label, the bit at a
digest of both is set. An unknown image finds its bit set in one of thirty cases, so that a set of
other images is never taken for Fashion-MNIST.
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
_SHARE = 0.9  # the rest may be relabelled or added


def is_fashion_mnist(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> bool:
    """Whether at least nine of ten images, uint8 (n, 28, 28, 1), are in Fashion-MNIST with the same
    label, int64 (n,), in Fashion-MNIST's order of the classes."""
    if images.shape[1:] != (28, 28, 1) or labels.min() < 0 or labels.max() > 9:
        return False
    return bool(_known()[_places(images, labels)].mean() >= _SHARE)


def bits_of(dataset: Dataset) -> bytes:
    """Return the content of `fashion_mnist.bits`, computed from the original."""
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
