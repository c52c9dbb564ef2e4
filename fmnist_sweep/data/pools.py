"""The images and labels that a split's indices refer to."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.errors import DataError

Pool: TypeAlias = Literal["train", "official", "validation"]
"""The images an index array refers to: a dataset's training, official test or own validation
images."""
LabelledSet: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images, uint8 (n, height, width, channels), and labels, int64 (n,)."""


def pool_of(dataset: Dataset, pool: Pool) -> LabelledSet:
    """Return the images and labels that a split's indices refer to.

    Raises DataError if the dataset has none.
    """
    images, labels = {
        "train": (dataset.images, dataset.labels),
        "official": (dataset.official_images, dataset.official_labels),
        "validation": (dataset.validation_images, dataset.validation_labels),
    }[pool]
    if images is None or labels is None:
        what = "an official test set" if pool == "official" else "validation images"
        raise DataError(f"the split uses {what}, but {dataset.name} has none")
    return images, labels
