"""A user's arrays, from .npz and .npy files or from memory."""

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

NAMES = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
MEDMNIST = {
    f"{x}_{ours}": f"{theirs}_{what}"
    for ours, theirs in (("train", "train"), ("val", "val"), ("test", "test"))
    for x, what in (("x", "images"), ("y", "labels"))
}
"""MedMNIST's names of the arrays (Yang et al. 2023, doi 10.1038/s41597-022-01721-8), by ours."""


def load_npz(config: NpzData) -> Dataset:
    """Read `x_train`, `y_train` and, if present, `x_val`, `y_val`, which validate, and `x_test`,
    `y_test`, the official test set.

    They are in one file, or each in its own. `config.arrays` has other names; those of MedMNIST
    are known. Raises DataError if a file or an array is missing or malformed.
    """
    if (config.file is None) == (config.files is None):
        given = "missing" if config.file is None else "both data.file and data.files are given"
        raise DataError(
            f"data.file: {given}; write data.file=FILE or data.files={{x_train: FILE, y_train: "
            "FILE}"
        )
    if config.files is not None:
        arrays, called = _from_files(config.files, config.arrays or {})
        first = Path(config.files.get("x_train", "arrays"))
        return _dataset(config, arrays, called, first.stem, str(first.parent))
    assert config.file is not None
    path = regular_file(config.file, "data.file", ".npz file")
    arrays, called = _from_file(path, config.arrays or {})
    return _dataset(config, arrays, called, path.stem, config.file)


def dataset_from_arrays(
    arrays: Mapping[str, NDArray[Any]],
    class_names: Sequence[str] | None = None,
    *,
    name: str = "arrays",
    source: str = "memory",
    pixel_max: int | None = None,
    channels_first: bool | None = None,
    close_gaps: bool = False,
) -> Dataset:
    """Validate arrays named `x_train`, `y_train` and, optionally, `x_val`, `y_val`, `x_test`,
    `y_test`.

    Images: whole numbers in 0..255 or numbers in 0..1, which are scaled, (n, height, width), (n,
    height, width, channels) or (n, channels, height, width); labels: integers in 0..classes-1 or
    words, (n,) or (n, 1). Without `class_names` the classes are the words, or "0", "1", ….
    `pixel_max`, 1 or 255, and `channels_first` say what else is found out from the training images.
    `close_gaps`: the integers that occur are the classes.
    Raises DataError, naming the array, for invalid arrays.
    """
    return _made(
        arrays,
        {},
        class_names,
        name,
        source,
        pixel_max=pixel_max,
        channels_first=channels_first,
        close_gaps=close_gaps,
    )


def _dataset(
    config: NpzData,
    arrays: Mapping[str, NDArray[Any]],
    called: Mapping[str, str],
    name: str,
    source: str,
) -> Dataset:
    return _made(
        arrays,
        called,
        config.class_names,
        name,
        source,
        pixel_max=config.pixel_max,
        channels_first=config.channels_first,
        close_gaps=config.close_gaps,
    )


def _made(
    arrays: Mapping[str, NDArray[Any]],
    called: Mapping[str, str],
    class_names: Sequence[str] | None,
    name: str,
    source: str,
    *,
    pixel_max: int | None,
    channels_first: bool | None,
    close_gaps: bool,
) -> Dataset:
    """Return arrays by our names as a dataset; `called` has the names that messages use."""

    def shown(ours: str) -> str:
        return called.get(ours, ours)

    for needed in ("x_train", "y_train"):
        if needed not in arrays:
            raise DataError(
                f"{source} has no array {shown(needed)}; it has: "
                f"{', '.join(sorted(map(shown, arrays))) or 'none'}"
            )
    for part in ("val", "test"):
        pair = (f"x_{part}", f"y_{part}")
        there = [ours for ours in pair if ours in arrays]
        if len(there) == 1:
            missing = next(ours for ours in pair if ours not in arrays)
            raise DataError(
                f"{source} has {shown(there[0])} but no {shown(missing)}; allowed: both or neither"
            )

    def labelled(part: str) -> LabelledImages | None:
        x, y = f"x_{part}", f"y_{part}"
        if x not in arrays:
            return None
        names = (f"{source}: {shown(x)}", f"{source}: {shown(y)}")
        return LabelledImages(arrays[x], arrays[y], *names)

    train = labelled("train")
    assert train is not None  # checked above
    return make_dataset(
        name,
        source,
        train,
        labelled("test"),
        class_names,
        validation=labelled("val"),
        pixel_max=pixel_max,
        channels_first=channels_first,
        close_gaps=close_gaps,
    )


def _from_file(
    path: Path, named: Mapping[Any, str]
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays of a file by our names, and what they are called there."""
    loaded = _loaded(path, "data.file")
    if isinstance(loaded, np.ndarray):
        raise DataError(f"{path} is a single array; allowed: an .npz file with x_train, y_train")
    with loaded as archive:
        theirs = MEDMNIST["x_train"] in archive and NAMES[0] not in archive and not named
        called = {name: named.get(name, MEDMNIST[name] if theirs else name) for name in NAMES}
        for ours in named:
            if called[ours] not in archive:
                raise DataError(
                    f"data.arrays.{ours}={called[ours]}: {path} has no such array; it has: "
                    f"{', '.join(sorted(archive.files)[:20]) or 'none'}"
                )
        arrays = {
            ours: _array(path, "data.file", archive, name)
            for ours, name in called.items()
            if name in archive
        }
        if not {"x_train", "y_train"} <= arrays.keys():
            missing = next(called[ours] for ours in NAMES if ours not in arrays)
            raise DataError(
                f"{path} has no array {missing}; it has: "
                f"{', '.join(sorted(archive.files)[:20]) or 'none'}; data.arrays={{x_train: NAME, "
                "y_train: NAME} says what they are called"
            )
    return arrays, called


def _from_files(
    files: Mapping[Any, str], named: Mapping[Any, str]
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays of several files, .npz or .npy, by our names, and their files' names."""
    arrays: dict[str, NDArray[Any]] = {}
    for ours, given in files.items():
        key = f"data.files.{ours}"
        path = regular_file(given, key, ".npz or .npy file")
        loaded = _loaded(path, key)
        if isinstance(loaded, np.ndarray):
            arrays[ours] = loaded
            continue
        with loaded as archive:
            found = list(archive.files)
            name = named.get(ours, found[0] if len(found) == 1 else ours)
            if name not in found:
                raise DataError(
                    f"{key}: {path} has no array {name}; it has: "
                    f"{', '.join(sorted(found)[:20]) or 'none'}; data.arrays={{{ours}: NAME}} says "
                    "which it is"
                )
            arrays[ours] = _array(path, key, archive, name)
    return arrays, {ours: Path(given).name for ours, given in files.items()}


def _loaded(path: Path, key: str) -> Any:
    """Return the array of an .npy file, or an open archive."""
    try:
        # Pickles run code when they are loaded, so arrays of objects are refused.
        with path.open("rb") as file:  # NumPy does not close a file that it cannot read
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
        return np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged archive makes NumPy and zipfile raise all kinds
        raise _unreadable(path, key, _why(path, error)) from error


def _array(path: Path, key: str, archive: Any, name: str) -> NDArray[Any]:
    try:
        array = archive[name]
    except Exception as error:
        raise _unreadable(path, key, _why(path, error)) from error
    if not isinstance(array, np.ndarray):
        raise _unreadable(path, key, f"{name} in it is not an array")
    return array


def _unreadable(path: Path, key: str, reason: str) -> DataError:
    return DataError(
        f"{key}: {path} is not a readable .npz file of plain arrays: {reason}; allowed: a "
        "file written by numpy.savez, without objects or a password"
    )


def _why(path: Path, error: Exception) -> str:
    kind, reason = kind_of(path), words_of(error)
    if "pickle" in reason:  # NumPy's message advises to allow pickles
        reason = "it holds Python objects, which are not loaded" if kind == ZIP else ""
    return f"found {kind}" + (f"; {reason}" if reason else "")
