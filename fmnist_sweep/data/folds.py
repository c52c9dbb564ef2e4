"""Folds of stratified cross-validation: each validates on its part, and trains on the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import KfoldSplit
from fmnist_sweep.data.class_shares import Indices
from fmnist_sweep.data.split_sizes import Size, check_sizes, stratified_room
from fmnist_sweep.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold: indices, sorted, of the training images that train and that validate."""

    train: Indices
    validation: Indices


def draw_folds(
    labels: NDArray[np.int64], indices: Indices, config: KfoldSplit, random: np.random.RandomState
) -> tuple[Fold, ...]:
    """Divide images among folds, as often as `repeats` says.

    The images of each class are shuffled and dealt out in turn, going on with the next class where
    the last one ended. So each class is spread evenly, and the folds' sizes differ by at most one.

    Args:
        labels: of all training images, int64 (n,).
        indices: of those that are divided, sorted.
        config: how many folds, and how often.
        random: where the shuffles come from.

    Returns:
        The folds of the first repeat, then those of the next: `folds` times `repeats`.
    """
    made = []
    for _ in range(config.repeats):
        # Sorted by class; a stable sort keeps the shuffle within each.
        shuffled = indices[random.permutation(len(indices))]
        dealt = shuffled[np.argsort(labels[shuffled], kind="stable")]
        for fold in range(config.folds):
            validation = np.sort(dealt[fold :: config.folds])
            made.append(Fold(np.setdiff1d(indices, validation), validation))
    return tuple(made)


def check_folds(config: KfoldSplit, test: Size, counts: Sequence[tuple[str, int]]) -> None:
    """Refuse folds and a test set that classes with these names and numbers of images do not allow:
    each class has an image in the test set, and one in each fold.

    Raises:
        ConfigError: names what is impossible, and the largest that would do.
    """
    folds, classes, total = config.folds, len(counts), sum(number for _, number in counts)
    name, fewest = min(counts, key=lambda count: count[1])
    has_only = f"class {name} has only {fewest} of the training images"
    if fewest < 3:
        raise ConfigError(
            f"split.scheme=kfold: {has_only}; needed: at least 3 images of each class"
        )
    if folds < fewest:
        check_sizes([test], stratified_room(counts, 1, kept=folds))
        return
    why = f"split.folds={folds}: {has_only}, one or more for the test set and one for each fold"
    if classes <= test.images <= total - 2 * classes:
        most = min(fewest - 1, (total - test.images) // classes)
        raise ConfigError(f"{why}, with {test}; allowed: {'2' if most == 2 else f'2 to {most}'}")
    most = fewest - 1
    raise ConfigError(
        f"{why}, and {test} is impossible; allowed: such as split.folds={most} "
        f"split.test={total - most * classes}"
    )
