"""Validates a user's images and labels and converts them to a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.errors import DataError

BRIGHTEST = 255


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One set as it was read: `images` (n, height, width) or (n, height, width, channels), `labels`
    (n,); `images_name` and `labels_name` are used in messages."""

    images: NDArray[Any]
    labels: NDArray[Any]
    images_name: str
    labels_name: str


def make_dataset(
    name: str,
    source: str,
    train: LabelledImages,
    official: LabelledImages | None,
    class_names: Sequence[str] | None,
) -> Dataset:
    """Validate a user's arrays and return them as a dataset.

    Without `class_names` the classes are "0", "1", … up to the largest training label; every label
    up to it must occur. Raises DataError, naming the array, for an invalid shape, dtype, pixel or
    label.
    """
    images = _images(train)
    names = _counted_classes(train) if class_names is None else _distinct(class_names)
    labels = _labels(train, len(names))
    official_images = official_labels = None
    if official is not None:
        official_images = _images(official)
        official_labels = _labels(official, len(names))
        if official_images.shape[1:] != images.shape[1:]:
            raise DataError(
                f"{official.images_name} have shape (height, width, channels) "
                f"{official_images.shape[1:]}, but {train.images_name} have {images.shape[1:]}"
            )
    return Dataset(
        name=name,
        source=source,
        images=images,
        labels=labels,
        official_images=official_images,
        official_labels=official_labels,
        class_names=names,
    )


def _images(given: LabelledImages) -> NDArray[np.uint8]:
    images, name = given.images, given.images_name
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{name} has shape {images.shape}; allowed: (n, height, width) or "
            "(n, height, width, channels), all at least 1"
        )
    if images.dtype.kind not in "iu":
        raise DataError(
            f"{name} has dtype {images.dtype}; allowed: integers, 0..{BRIGHTEST} (preferably uint8)"
        )
    if images.dtype != np.uint8:
        _refuse_outside(images, BRIGHTEST, name, "pixels")
    pixels = images.astype(np.uint8, copy=False)
    return pixels[..., np.newaxis] if pixels.ndim == 3 else pixels


def _labels(given: LabelledImages, classes: int) -> NDArray[np.int64]:
    labels = _integer_labels(given)
    _refuse_outside(labels, classes - 1, given.labels_name, "labels")
    return labels.astype(np.int64)


def _integer_labels(given: LabelledImages) -> NDArray[Any]:
    labels, name = given.labels, given.labels_name
    if labels.shape != given.images.shape[:1]:
        raise DataError(
            f"{name} has shape {labels.shape}, but {given.images_name} has "
            f"{len(given.images)} images; allowed: ({len(given.images)},)"
        )
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name} has dtype {labels.dtype}; allowed: integers, 0..classes-1")
    return labels


def _refuse_outside(array: NDArray[Any], largest: int, name: str, what: str) -> None:
    outside = (array < 0) | (array > largest)
    if outside.any():
        where = tuple(int(index) for index in np.argwhere(outside)[0])
        raise DataError(
            f"{name}[{', '.join(map(str, where))}] is {array[where]}; "
            f"allowed for {what}: 0..{largest}"
        )


def _counted_classes(train: LabelledImages) -> tuple[str, ...]:
    present = np.unique(_integer_labels(train))
    expected = np.arange(len(present))
    if not np.array_equal(present, expected):
        stray = present[present != expected][0]
        raise DataError(
            f"{train.labels_name} contains label {stray}, but not every label from 0 up to it; "
            "allowed: 0..classes-1 without gaps, or list all classes in data.class_names"
        )
    return tuple(str(label) for label in present)


def _distinct(class_names: Sequence[str]) -> tuple[str, ...]:
    if not class_names:
        raise DataError("data.class_names=[] is empty; allowed: a name for each class, or null")
    for position, name in enumerate(class_names):
        if name in class_names[:position]:
            raise DataError(f"data.class_names lists {name!r} twice; allowed: distinct names")
    return tuple(class_names)
