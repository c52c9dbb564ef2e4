"""How many images of each class a set has, and which: balanced, or stratified."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.split_sizes import Size, balanced_room, check_sizes

Counts = NDArray[np.int64]
Indices = NDArray[np.int64]


def stratified_shares(size: int, counts: Counts, kept: int) -> Counts:
    """Return how many images of each class are taken: int64 (classes,), with the sum `size`.

    Shares are rounded by the method of the largest remainders, where each class gives at least one
    image and keeps at least `kept`. The size is between the number of classes and what the classes
    can give.
    """
    most = counts - kept
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
    counts = [(name, len(rows)) for name, rows in groups]
    check_sizes([Size(key, size, size)], balanced_room(counts, 1, trains=False))
    # The same stream as the global generator after np.random.seed, without changing that.
    random, share = np.random.RandomState(seed), size // len(groups)
    return np.concatenate([random.choice(rows, share, replace=False) for _, rows in groups])


def part_of(fraction: float, total: int) -> int:
    """Return a fraction of a number of images, rounded down."""
    # In decimals, as the user wrote it: 0.29 * 100 is 28.999… in binary.
    return int(Decimal(str(fraction)) * total)
