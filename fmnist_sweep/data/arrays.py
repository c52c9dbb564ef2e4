"""Validates a user's images and labels and converts them to a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.array_pixels import BRIGHTEST, PixelForm, as_pixels, form_of
from fmnist_sweep.data.dataset import Dataset, in_words
from fmnist_sweep.errors import DataError

__all__ = ["BRIGHTEST", "LabelledImages", "distinct", "make_dataset"]

_SHOWN = 10


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """One set as it was read: `images` (n, height, width), (n, height, width, channels) or (n,
    channels, height, width), `labels` (n,) or (n, 1), numbers or words; `images_name` and
    `labels_name` are used in messages."""

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
    *,
    validation: LabelledImages | None = None,
    pixel_max: int | None = BRIGHTEST,
    channels_first: bool | None = False,
    close_gaps: bool = False,
) -> Dataset:
    """Validate a user's arrays and return them as a dataset.

    Without `class_names` the classes are the training labels where those are words, else "0", "1",
    … up to the largest; every label up to it must occur, unless `close_gaps` makes the numbers that
    occur the classes. `pixel_max` and `channels_first`: None derives them from the training images.
    Raises DataError, naming the array, for an invalid shape, dtype, pixel or label.
    """
    form = form_of(train.images, train.images_name, pixel_max, channels_first)
    given = {"train": train, "official": official, "validation": validation}
    sets = {part: _flat(some) for part, some in given.items() if some is not None}
    images = {part: as_pixels(some.images, some.images_name, form) for part, some in sets.items()}
    for part, some in sets.items():
        if images[part].shape[1:] != images["train"].shape[1:]:
            raise DataError(
                f"{some.images_name} have shape (height, width, channels) "
                f"{images[part].shape[1:]}, but {train.images_name} have "
                f"{images['train'].shape[1:]}"
            )
    if sets["train"].labels.dtype.kind in "US":
        names = distinct(
            [str(word) for word in np.unique(_texts(sets["train"]))]
            if class_names is None
            else class_names
        )
        sets = {part: replace(some, labels=_numbers(some, names)) for part, some in sets.items()}
    elif close_gaps:
        present = np.unique(_integer_labels(sets["train"]))
        names = distinct(class_names or [str(label) for label in present])
        sets = {
            part: replace(some, labels=_without_gaps(some, present, names))
            for part, some in sets.items()
        }
    elif class_names is None:
        names = _counted_classes(sets["train"])
    else:
        names = distinct(class_names)
    labels = {part: _labels(some, len(names)) for part, some in sets.items()}
    dataset = Dataset(
        name=name,
        source=source,
        images=images["train"],
        labels=labels["train"],
        official_images=images.get("official"),
        official_labels=labels.get("official"),
        class_names=names,
        validation_images=images.get("validation"),
        validation_labels=labels.get("validation"),
    )
    return replace(dataset, understood=_understood(dataset, train, form))


def _understood(dataset: Dataset, train: LabelledImages, form: PixelForm) -> str:
    words = [
        f"{train.images_name}: {len(dataset.labels):,} images {in_words(dataset.image_shape)}",
        f"labels in {train.labels_name.rpartition(': ')[2]}",
        f"{dataset.classes} classes",
        *form.remarks,
    ]
    if dataset.validation_labels is not None:
        words.append(f"{len(dataset.validation_labels):,} validate")
    if dataset.official_labels is not None:
        words.append(f"{len(dataset.official_labels):,} are the official test set")
    return ", ".join(words)


def _flat(given: LabelledImages) -> LabelledImages:
    """Turn labels (n, 1) into (n,)."""
    labels = given.labels
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != given.images.shape[:1]:
        raise DataError(
            f"{given.labels_name} has shape {labels.shape}, but {given.images_name} has "
            f"{len(given.images)} images; allowed: ({len(given.images)},) or "
            f"({len(given.images)}, 1)"
        )
    return replace(given, labels=labels)


def _labels(given: LabelledImages, classes: int) -> NDArray[np.int64]:
    labels = _integer_labels(given)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        where = int(np.argmax(outside))
        raise DataError(
            f"{given.labels_name}[{where}] is {labels[where]}; allowed for labels: 0..{classes - 1}"
        )
    return labels.astype(np.int64)


def _integer_labels(given: LabelledImages) -> NDArray[Any]:
    if given.labels.dtype.kind not in "iu":
        raise DataError(
            f"{given.labels_name} has dtype {given.labels.dtype}; allowed: integers, 0..classes-1, "
            "or words"
        )
    return given.labels


def _texts(given: LabelledImages) -> NDArray[Any]:
    labels = given.labels
    if labels.dtype.kind == "S":
        try:
            return np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{given.labels_name} has words that are not UTF-8") from error
    return labels


def _numbers(given: LabelledImages, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the numbers of words, which must be names of classes."""
    if given.labels.dtype.kind not in "US":
        return _integer_labels(given).astype(np.int64)
    words = _texts(given)
    numbers = {word: number for number, word in enumerate(names)}
    found, where = np.unique(words, return_inverse=True)
    for word in found:
        if str(word) not in numbers:
            row = int(np.argmax(words == word))
            raise DataError(
                f"{given.labels_name}[{row}] is {str(word)[:60]!r}; allowed: "
                f"{', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
            )
    return np.array([numbers[str(word)] for word in found], np.int64)[where]


def _without_gaps(
    given: LabelledImages, present: NDArray[Any], names: Sequence[str]
) -> NDArray[np.int64]:
    """Return the places of labels among those that the training images have."""
    if len(names) != len(present):
        raise DataError(
            f"data.class_names has {len(names)} names, but {len(present)} labels occur; allowed "
            "with data.close_gaps=true: a name for each of them"
        )
    labels = _integer_labels(given)
    places = np.minimum(np.searchsorted(present, labels), len(present) - 1)
    strange = present[places] != labels
    if strange.any():
        where = int(np.argmax(strange))
        allowed = ", ".join(map(str, present[:_SHOWN]))
        raise DataError(
            f"{given.labels_name}[{where}] is {labels[where]}, which no training image has; "
            f"allowed: {allowed}{', …' if len(present) > _SHOWN else ''}"
        )
    return places.astype(np.int64)


def _counted_classes(train: LabelledImages) -> tuple[str, ...]:
    present = np.unique(_integer_labels(train))
    expected = np.arange(len(present))
    if not np.array_equal(present, expected):
        stray = present[present != expected][0]
        raise DataError(
            f"{train.labels_name} contains label {stray}, but not every label from 0 up to it; "
            "allowed: 0..classes-1 without gaps; data.close_gaps=true makes the labels that occur "
            "the classes, data.class_names lists all classes"
        )
    return tuple(str(label) for label in present)


def distinct(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of classes. Raises DataError if there are none, or one is listed twice."""
    if not class_names:
        raise DataError("data.class_names=[] is empty; allowed: a name for each class, or null")
    for position, name in enumerate(class_names):
        if name in class_names[:position]:
            raise DataError(f"data.class_names lists {name!r} twice; allowed: distinct names")
    return tuple(class_names)
