"""How many images of each class a set has, and which: balanced, or stratified."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.errors import ConfigError

Counts = NDArray[np.int64]
Indices = NDArray[np.int64]


def stratified_shares(
    key: str, size: int, counts: Counts, kept: int, names: tuple[str, ...]
) -> Counts:
    """Return how many images of each class are taken: int64 (classes,), with the sum `size`.

    Shares are rounded by the method of the largest remainders, where each class gives at least one
    image and keeps at least `kept`.

    Args:
        key: the config's, for messages.
        size: of the set.
        counts: the images of each class, int64 (classes,).
        kept: how many images of each class are left at least.
        names: of the classes.

    Raises:
        ConfigError: a class has too few images, or the size is impossible; the message says which
            sizes are allowed.
    """
    most = counts - kept
    if (most < 1).any():
        smallest = int(counts.argmin())
        raise ConfigError(
            f"{key}={size}: class {names[smallest]} has only {counts[smallest]} of the training "
            f"images; split.scheme=stratified needs at least {kept + 1} of each class"
        )
    if not len(counts) <= size <= most.sum():
        raise ConfigError(
            f"{key}={size}: not possible with {counts.sum()} training images of {len(counts)} "
            f"classes, {kept} or more of each being left; allowed: {len(counts)} to {most.sum()}"
        )
    wanted = size * counts / counts.sum()
    shares: Counts = np.clip(np.floor(wanted).astype(np.int64), 1, most)
    while (missing := size - int(shares.sum())) != 0:
        step = 1 if missing > 0 else -1
        can_change = shares < most if missing > 0 else shares > 1
        # The class whose share is furthest from what it should be; the first of equals.
        off = np.where(can_change, step * (wanted - shares), -np.inf)
        shares[int(off.argmax())] += step
    return shares


def draw_balanced(groups: Sequence[tuple[str, Indices]], size: int, seed: int, key: str) -> Indices:
    """The article's procedure, given each class's name and rows, in order of first appearance."""
    share = balanced_share(key, size, len(groups))
    # The same stream as the global generator after np.random.seed, without changing that.
    random = np.random.RandomState(seed)
    chosen = []
    for name, members in groups:
        refuse_too_few(key, size, share, name, len(members))
        chosen.append(random.choice(members, share, replace=False))
    return np.concatenate(chosen)


def balanced_size(key: str, given: float, dataset: Dataset) -> int:
    """Return a size that is given as a number or a fraction, rounded down to a multiple of the
    classes."""
    if isinstance(given, int):
        return given
    total, classes = len(dataset.labels), dataset.classes
    size = part_of(given, total) // classes * classes
    if size == 0:
        raise ConfigError(
            f"{key}={given} of {total} training images is less than one per class of the "
            f"{classes} classes; allowed: at least {classes / total:.2g}"
        )
    return size


def part_of(fraction: float, total: int) -> int:
    """Return a fraction of a number of images, rounded down."""
    # In decimals, as the user wrote it: 0.29 * 100 is 28.999… in binary.
    return int(Decimal(str(fraction)) * total)


def balanced_share(key: str, size: int, classes: int) -> int:
    """Return how many images of each class a size is; a ConfigError if that is no whole number."""
    if classes == 0 or size < 1 or size % classes:
        raise ConfigError(
            f"{key}={size} is not divisible by the {classes} classes; "
            f"allowed: positive multiples of {classes}"
        )
    return size // classes


def refuse_too_few(key: str, size: int, share: int, name: str, available: int) -> None:
    """Raise ConfigError if a class has too few images."""
    if share > available:
        raise ConfigError(
            f"{key}={size} takes {share} images per class, but class {name} has only {available}"
        )
