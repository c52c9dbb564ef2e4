"""A split as files: the images per class, and the index arrays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.data.pools import pool_of
from fmnist_sweep.data.split import Split

if TYPE_CHECKING:
    import pandas as pd


def split_table(split: Split, dataset: Dataset) -> pd.DataFrame:
    """Count the images per class: index `class`, columns `train`, `validation`, `test`."""
    import pandas as pd

    def counts(name: str) -> NDArray[np.int64]:
        if name not in split.parts:
            return np.zeros(dataset.classes, np.int64)
        pool, indices = split.parts[name]
        return np.bincount(pool_of(dataset, pool)[1][indices], minlength=dataset.classes)

    return pd.DataFrame(
        {name: counts(name) for name in ("train", "validation", "test")},
        index=pd.Index(dataset.class_names, name="class"),
    )


def classes_csv(split: Split, dataset: Dataset) -> str:
    """Return the table as CSV, one row per class, the name first."""
    return str(split_table(split, dataset).to_csv())


def indices_npz(split: Split) -> bytes:
    """Return the index arrays (`train`, `validation` if there is one, `test`) as an .npz file.

    `validation_pool` and `test_pool` say which images the indices refer to. `folds`, if there are
    such, are numbers for the images of `train`, int64 (repeats, train): which fold each validates.
    """
    arrays = {
        "train": split.train,
        "test": split.test,
        "validation_pool": np.array(split.validation_pool),
        "test_pool": np.array(split.test_pool),
    }
    if split.validation is not None:
        arrays["validation"] = split.validation
    if split.folds:
        arrays["folds"] = _fold_numbers(split)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _fold_numbers(split: Split) -> NDArray[np.int64]:
    repeats = sum(len(fold.validation) for fold in split.folds) // len(split.train)
    numbers = np.zeros((repeats, len(split.train)), np.int64)
    each = len(split.folds) // repeats
    for place, fold in enumerate(split.folds):
        rows = np.searchsorted(split.train, fold.validation)
        numbers[place // each, rows] = place % each
    return numbers
