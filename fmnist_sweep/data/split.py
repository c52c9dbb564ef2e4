"""Index arrays that split a dataset: a function of labels, scheme, sizes and seed only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import BalancedSplit, OfficialSplit, SplitConfig, WrapperSplit
from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.data.pools import LabelledSet, Pool, pool_of
from fmnist_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Index arrays of the training, validation and test images, without overlap.

    `train` refers to the training images, the others to the pool named beside them.
    """

    scheme: str
    train: Indices
    validation: Indices | None
    test: Indices
    validation_pool: Pool = "train"
    test_pool: Pool = "train"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the index arrays and their pools, in hex; the scheme's name is not
        included."""
        digest = hashlib.sha256()
        for pool, indices in (
            ("train", self.train),
            (self.validation_pool, self.validation),
            (self.test_pool, self.test),
        ):
            if indices is None:
                digest.update(b"none;")
                continue
            digest.update(f"{pool}{len(indices)};".encode())
            digest.update(indices.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def images(self) -> dict[str, int]:
        """Number of images per set: train, validation (0 without one), test."""
        validation = 0 if self.validation is None else len(self.validation)
        return {"train": len(self.train), "validation": validation, "test": len(self.test)}

    @property
    def parts(self) -> dict[str, tuple[Pool, Indices]]:
        """Pool and indices per set: train, validation (if there is one), test."""
        parts: dict[str, tuple[Pool, Indices]] = {"train": ("train", self.train)}
        if self.validation is not None:
            parts["validation"] = (self.validation_pool, self.validation)
        parts["test"] = (self.test_pool, self.test)
        return parts

    def train_set(self, dataset: Dataset) -> LabelledSet:
        """Return the training images and labels."""
        return _take(dataset, "train", self.train)

    def validation_set(self, dataset: Dataset) -> LabelledSet | None:
        """Return the validation images and labels, or None without a validation set."""
        if self.validation is None:
            return None
        return _take(dataset, self.validation_pool, self.validation)

    def test_set(self, dataset: Dataset) -> LabelledSet:
        """Return the test images and labels, which are the same for all trials."""
        return _take(dataset, self.test_pool, self.test)

    def official_set(self, dataset: Dataset) -> LabelledSet | None:
        """Return the official test set; None if there is none or the split uses it."""
        used = self.test_pool == "official" or (
            self.validation is not None and self.validation_pool == "official"
        )
        if used or dataset.official_images is None or dataset.official_labels is None:
            return None
        return dataset.official_images, dataset.official_labels


def make_split(config: SplitConfig, dataset: Dataset) -> Split:
    """Split a dataset according to a `split` config. Validation images of the dataset's own take
    the place of those that the scheme would choose.

    Raises ConfigError, naming the key, if a size is not a multiple of the number of classes, a
    class has too few images or no training images are left; DataError if an official test set is
    needed and the dataset has none.
    """
    if isinstance(config, BalancedSplit):
        return _balanced(config, dataset)
    if isinstance(config, WrapperSplit):
        return _wrapper(config, dataset)
    return _official(config, dataset)


def balanced_test_split(
    df: pd.DataFrame, size: int = 10000, seed: int = 27
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw a balanced test set from a table with a `label` column: `(train_df, test_df)`.

    Classes are in order of first appearance; of each, `size // classes` rows are drawn without
    replacement by NumPy's legacy generator seeded with `seed`; NumPy's global generator is not
    used. The test frame, in the order drawn, gets a new index; the train frame keeps its own.
    Raises DataError if the column is missing or has gaps or the index has duplicates, ConfigError
    if `size` is not a multiple of the number of classes or a class has too few rows.
    """
    import pandas as pd

    if "label" not in df.columns:
        raise DataError(f"the frame has no column label; it has: {', '.join(map(str, df.columns))}")
    if not df.index.is_unique:
        twice = df.index[df.index.duplicated()][0]
        raise DataError(
            f"the frame's index contains {twice} more than once; allowed: unique values"
        )
    codes, classes = pd.factorize(df["label"])
    if (codes < 0).any():
        raise DataError(f"the label in row {int(np.argmax(codes < 0))} (from 0) is missing")
    groups = [(str(name), np.flatnonzero(codes == code)) for code, name in enumerate(classes)]
    chosen = _draw_balanced(groups, size, seed, key="size")
    rest = np.delete(np.arange(len(df)), chosen)
    return df.iloc[rest], df.iloc[chosen].reset_index(drop=True)


def _balanced(config: BalancedSplit, dataset: Dataset) -> Split:
    own = _own_validation(dataset)
    test_size = _size("split.test", config.test, dataset)
    validation_size = (
        0 if own is not None else _size("split.validation", config.validation, dataset)
    )
    test_share = _share("split.test", test_size, dataset.classes)
    validation_share = (
        0 if own is not None else _share("split.validation", validation_size, dataset.classes)
    )
    random = np.random.RandomState(config.seed)
    test, validation = [], []
    for label, name in enumerate(dataset.class_names):
        members = np.flatnonzero(dataset.labels == label)
        _refuse_too_few("split.test", test_size, test_share, name, len(members))
        left = len(members) - test_share
        _refuse_too_few("split.validation", validation_size, validation_share, name, left)
        # The test set is the start of a shuffle: it does not depend on what else is drawn.
        drawn = random.permutation(members)
        test.append(drawn[:test_share])
        validation.append(drawn[test_share : test_share + validation_share])
    test_indices, validation_indices = (
        np.sort(np.concatenate(drawn)) for drawn in (test, validation)
    )
    train = _rest(
        dataset,
        np.concatenate([test_indices, validation_indices]),
        used_up_by=f"split.test={test_size} and split.validation={validation_size}",
    )
    if own is not None:
        return Split("balanced", train, own, test_indices, validation_pool="validation")
    return Split("balanced", train, validation_indices, test_indices)


def _wrapper(config: WrapperSplit, dataset: Dataset) -> Split:
    own = _own_validation(dataset)
    official = 0 if own is not None else _official_count(dataset, "wrapper", "validate")
    groups = [
        (name, np.flatnonzero(dataset.labels == label))
        for label, name in enumerate(dataset.class_names)
    ]
    # In order of first appearance; a class without images is last, and rejected by name.
    groups.sort(key=lambda group: group[1][0] if len(group[1]) else len(dataset.labels))
    test = _draw_balanced(groups, config.test, config.seed, key="split.test")
    train = _rest(dataset, test, used_up_by=f"split.test={config.test}")
    if own is not None:
        return Split("wrapper", train, own, test, validation_pool="validation")
    return Split("wrapper", train, np.arange(official), test, validation_pool="official")


def _official(config: OfficialSplit, dataset: Dataset) -> Split:
    test = np.arange(_official_count(dataset, "official", "test"))
    indices = np.arange(len(dataset.labels))
    own = _own_validation(dataset)
    if own is not None:
        return Split("official", indices, own, test, "validation", "official")
    if config.validation is None:
        return Split("official", indices, None, test, test_pool="official")
    held_out = _part(config.validation.fraction, len(indices))
    if held_out == 0:
        raise ConfigError(
            f"split.validation.fraction={config.validation.fraction} of {len(indices)} training "
            f"images is less than one image; allowed: at least {1 / len(indices):.2g}"
        )
    if config.validation.take == "first":
        validation, train = indices[:held_out], indices[held_out:]
    else:
        train, validation = np.split(indices, [len(indices) - held_out])
    return Split("official", train, validation, test, test_pool="official")


def _own_validation(dataset: Dataset) -> Indices | None:
    """The indices of the dataset's own validation images, None if it has none."""
    labels = dataset.validation_labels
    return None if labels is None else np.arange(len(labels))


def _draw_balanced(
    groups: Sequence[tuple[str, Indices]], size: int, seed: int, key: str
) -> Indices:
    """The article's procedure, given each class's name and rows, in order of first appearance."""
    share = _share(key, size, len(groups))
    # The same stream as the global generator after np.random.seed, without changing that.
    random = np.random.RandomState(seed)
    chosen = []
    for name, members in groups:
        _refuse_too_few(key, size, share, name, len(members))
        chosen.append(random.choice(members, share, replace=False))
    return np.concatenate(chosen)


def _size(key: str, given: float, dataset: Dataset) -> int:
    if isinstance(given, int):
        return given
    total, classes = len(dataset.labels), dataset.classes
    size = _part(given, total) // classes * classes
    if size == 0:
        raise ConfigError(
            f"{key}={given} of {total} training images is less than one per class of the "
            f"{classes} classes; allowed: at least {classes / total:.2g}"
        )
    return size


def _part(fraction: float, total: int) -> int:
    # In decimals, as the user wrote it: 0.29 * 100 is 28.999… in binary.
    return int(Decimal(str(fraction)) * total)


def _share(key: str, size: int, classes: int) -> int:
    if classes == 0 or size < 1 or size % classes:
        raise ConfigError(
            f"{key}={size} is not divisible by the {classes} classes; "
            f"allowed: positive multiples of {classes}"
        )
    return size // classes


def _refuse_too_few(key: str, size: int, share: int, name: str, available: int) -> None:
    if share > available:
        raise ConfigError(
            f"{key}={size} takes {share} images per class, but class {name} has only {available}"
        )


def _rest(dataset: Dataset, taken: Indices, used_up_by: str) -> Indices:
    rest = np.delete(np.arange(len(dataset.labels)), taken)
    if len(rest) == 0:
        raise ConfigError(
            f"{used_up_by} use all {len(dataset.labels)} training images; "
            "allowed: sizes that leave some for training"
        )
    return rest


def _official_count(dataset: Dataset, scheme: str, to: str) -> int:
    if dataset.official_labels is None:
        raise DataError(
            f"split.scheme={scheme} needs an official test set to {to}, but {dataset.name} has "
            "none; allowed: balanced"
        )
    return len(dataset.official_labels)


def _take(dataset: Dataset, pool: Pool, indices: Indices) -> LabelledSet:
    images, labels = pool_of(dataset, pool)
    return images[indices], labels[indices]
