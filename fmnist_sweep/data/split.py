"""Index arrays that split a dataset: a function of labels, scheme, sizes and seed only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fmnist_sweep.config.data_schema import (
    BalancedSplit,
    KfoldSplit,
    OfficialSplit,
    SplitConfig,
    StratifiedSplit,
    WrapperSplit,
)
from fmnist_sweep.data.class_shares import Indices, draw_balanced, part_of, stratified_shares
from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.data.folds import Fold, check_folds, draw_folds
from fmnist_sweep.data.pools import LabelledSet, Pool, pool_of
from fmnist_sweep.data.split_sizes import Size, balanced_room, check_sizes, stratified_room
from fmnist_sweep.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Split:
    """Index arrays of the training, validation and test images, without overlap.

    `train` refers to the training images, the others to the pool named beside them. With `folds`
    there is no validation set: `train` are all images that are not test, which the folds divide.
    """

    scheme: str
    train: Indices
    validation: Indices | None
    test: Indices
    validation_pool: Pool = "train"
    test_pool: Pool = "train"
    folds: tuple[Fold, ...] = ()

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
        for fold in self.folds:
            digest.update(f"fold{len(fold.validation)};".encode())
            digest.update(fold.validation.astype("<i8").tobytes())
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

    @property
    def is_validated(self) -> bool:
        """Whether trainings are validated: on a validation set, or on each fold's."""
        return self.validation is not None or bool(self.folds)

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

    Raises ConfigError, naming the key, if a balanced size is not a multiple of the number of
    classes, a class has too few images or no training images are left; DataError if an official
    test set is needed and the dataset has none.
    """
    if isinstance(config, BalancedSplit):
        return _balanced(config, dataset)
    if isinstance(config, StratifiedSplit):
        return _stratified(config, dataset)
    if isinstance(config, KfoldSplit):
        return _kfold(config, dataset)
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
    chosen = draw_balanced(groups, size, seed, key="size")
    rest = np.delete(np.arange(len(df)), chosen)
    return df.iloc[rest], df.iloc[chosen].reset_index(drop=True)


def _balanced(config: BalancedSplit, dataset: Dataset) -> Split:
    classes, total = dataset.classes, len(dataset.labels)

    def rounded(given: float) -> int:
        """A fraction is rounded down to a multiple of the classes."""
        return given if isinstance(given, int) else part_of(given, total) // classes * classes

    sizes = _sizes(config, dataset, rounded)
    check_sizes(sizes, balanced_room(_counts(dataset), len(sizes)))
    test, validation = ([size.images // classes] * classes for size in (*sizes, Size("", 0, 0))[:2])
    return _drawn("balanced", dataset, config.seed, test, validation)


def _stratified(config: StratifiedSplit, dataset: Dataset) -> Split:
    total = len(dataset.labels)
    counts = np.bincount(dataset.labels, minlength=dataset.classes)

    def images(given: float) -> int:
        return given if isinstance(given, int) else part_of(given, total)

    sizes = _sizes(config, dataset, images)
    check_sizes(sizes, stratified_room(_counts(dataset), len(sizes)))
    # One of each class trains, and one validates.
    test = stratified_shares(sizes[0].images, counts, len(sizes))
    validation = np.zeros_like(test)
    if len(sizes) > 1:
        validation = stratified_shares(sizes[1].images, counts - test, 1)
    return _drawn("stratified", dataset, config.seed, test, validation)


def _kfold(config: KfoldSplit, dataset: Dataset) -> Split:
    if _own_validation(dataset) is not None:
        raise ConfigError(
            f"split.scheme=kfold validates on each part of the training images, but {dataset.name} "
            "has validation images of its own; allowed: balanced, stratified"
        )
    total, given = len(dataset.labels), config.test
    size = Size("split.test", given, given if isinstance(given, int) else part_of(given, total))
    check_folds(config, size, _counts(dataset))
    counts = np.bincount(dataset.labels, minlength=dataset.classes)
    random = np.random.RandomState(config.seed)
    test = []
    for label, share in enumerate(stratified_shares(size.images, counts, config.folds)):
        test.append(random.permutation(np.flatnonzero(dataset.labels == label))[:share])
    drawn = np.sort(np.concatenate(test))
    train = _rest(dataset, drawn)
    folds = draw_folds(dataset.labels, train, config, random)
    return Split("kfold", train, None, drawn, folds=folds)


def _sizes(
    config: BalancedSplit | StratifiedSplit, dataset: Dataset, images: Callable[[float], int]
) -> list[Size]:
    """The sizes of the sets that are drawn, in the order in which they are."""
    sizes = [Size("split.test", config.test, images(config.test))]
    if _own_validation(dataset) is None:
        sizes.append(Size("split.validation", config.validation, images(config.validation)))
    return sizes


def _counts(dataset: Dataset) -> list[tuple[str, int]]:
    """Each class's name and number of training images."""
    counts = np.bincount(dataset.labels, minlength=dataset.classes)
    return [(name, int(n)) for name, n in zip(dataset.class_names, counts, strict=True)]


def _drawn(
    scheme: str,
    dataset: Dataset,
    seed: int,
    test_shares: Sequence[int] | Indices,
    validation_shares: Sequence[int] | Indices,
) -> Split:
    """Draw so many images of each class."""
    random = np.random.RandomState(seed)
    test, validation = [], []
    for label, (for_test, to_validate) in enumerate(
        zip(test_shares, validation_shares, strict=True)
    ):
        # The test set is the start of a shuffle: it does not depend on what else is drawn.
        drawn = random.permutation(np.flatnonzero(dataset.labels == label))
        test.append(drawn[:for_test])
        validation.append(drawn[for_test : for_test + to_validate])
    test_indices, validation_indices = (
        np.sort(np.concatenate(drawn)) for drawn in (test, validation)
    )
    train = _rest(dataset, np.concatenate([test_indices, validation_indices]))
    own = _own_validation(dataset)
    if own is not None:
        return Split(scheme, train, own, test_indices, validation_pool="validation")
    return Split(scheme, train, validation_indices, test_indices)


def _wrapper(config: WrapperSplit, dataset: Dataset) -> Split:
    own = _own_validation(dataset)
    official = 0 if own is not None else _official_count(dataset, "wrapper", "validate")
    groups = [
        (name, np.flatnonzero(dataset.labels == label))
        for label, name in enumerate(dataset.class_names)
    ]
    # In order of first appearance; a class without images is last, and rejected by name.
    groups.sort(key=lambda group: group[1][0] if len(group[1]) else len(dataset.labels))
    check_sizes([Size("split.test", config.test, config.test)], balanced_room(_counts(dataset), 1))
    test = draw_balanced(groups, config.test, config.seed, key="split.test")
    train = _rest(dataset, test)
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
    held_out = part_of(config.validation.fraction, len(indices))
    if held_out == 0:
        # Rounded up: the fraction that is named has to do.
        enough = math.ceil(1000 / len(indices) * 100) / 100000
        raise ConfigError(
            f"split.validation.fraction={config.validation.fraction} of {len(indices)} training "
            f"images is less than one image; allowed: at least {enough:g}"
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


def _rest(dataset: Dataset, taken: Indices) -> Indices:
    return np.delete(np.arange(len(dataset.labels)), taken)


def _official_count(dataset: Dataset, scheme: str, to: str) -> int:
    if dataset.official_labels is None:
        raise DataError(
            f"split.scheme={scheme} needs an official test set to {to}, but {dataset.name} has "
            "none; allowed: balanced, stratified, kfold"
        )
    return len(dataset.official_labels)


def _take(dataset: Dataset, pool: Pool, indices: Indices) -> LabelledSet:
    images, labels = pool_of(dataset, pool)
    return images[indices], labels[indices]
