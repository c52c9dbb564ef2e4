"""A user's arrays, from an .npz file or from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import NpzData
from fmnist_sweep.data.arrays import LabelledImages, make_dataset
from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.data.packed import ZIP, kind_of, regular_file, words_of
from fmnist_sweep.errors import DataError

NAMES = ("x_train", "y_train", "x_test", "y_test")


def load_npz(config: NpzData) -> Dataset:
    """Read `x_train`, `y_train` and, if present, `x_test`, `y_test` from an .npz file.

    Raises DataError if the file or an array is missing or malformed.
    """
    path = regular_file(config.file, "data.file", ".npz file")
    return dataset_from_arrays(
        _read(path), config.class_names, name=path.stem, source=str(config.file)
    )


def dataset_from_arrays(
    arrays: Mapping[str, NDArray[Any]],
    class_names: Sequence[str] | None = None,
    *,
    name: str = "arrays",
    source: str = "memory",
) -> Dataset:
    """Validate arrays named `x_train`, `y_train` and, optionally, `x_test`, `y_test`.

    Images: integers in 0..255, (n, height, width) or (n, height, width, channels); labels: integers
    in 0..classes-1, (n,). Without `class_names` the classes are "0", "1", …. Raises DataError,
    naming the array, for invalid arrays.
    """
    for needed in ("x_train", "y_train"):
        if needed not in arrays:
            raise DataError(
                f"{source} has no array {needed}; it has: {', '.join(sorted(arrays)) or 'none'}"
            )
    if ("x_test" in arrays) != ("y_test" in arrays):
        there, missing = ("x_test", "y_test") if "x_test" in arrays else ("y_test", "x_test")
        raise DataError(f"{source} has {there} but no {missing}; allowed: both or neither")

    def labelled(part: str) -> LabelledImages:
        x, y = f"x_{part}", f"y_{part}"
        return LabelledImages(arrays[x], arrays[y], f"{source}: {x}", f"{source}: {y}")

    official = labelled("test") if "x_test" in arrays else None
    return make_dataset(name, source, labelled("train"), official, class_names)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:  # NumPy does not close a file that it cannot read
            # Pickles run code when they are loaded, so arrays of objects are refused.
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise DataError(
                    f"{path} is a single array; allowed: an .npz file with x_train, y_train"
                )
            with loaded as archive:
                arrays = {name: archive[name] for name in NAMES if name in archive}
    except DataError:
        raise
    except Exception as error:  # a damaged archive makes NumPy and zipfile raise all kinds
        raise _unreadable(path, _why(path, error)) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise _unreadable(path, f"{name} in it is not an array")
    return arrays


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(
        f"data.file: {path} is not a readable .npz file of plain arrays: {reason}; allowed: a "
        "file written by numpy.savez, without objects or a password"
    )


def _why(path: Path, error: Exception) -> str:
    kind, reason = kind_of(path), words_of(error)
    if "pickle" in reason:  # NumPy's message advises to allow pickles
        reason = "it holds Python objects, which are not loaded" if kind == ZIP else ""
    return f"found {kind}" + (f"; {reason}" if reason else "")
