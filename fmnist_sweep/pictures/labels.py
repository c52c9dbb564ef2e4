"""Labels of points that do not cover one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.pictures.style import INK, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LABELS = 24


def number_points(
    axes: Axes, numbers: Sequence[int], costs: NDArray[np.float64], gains: NDArray[np.float64]
) -> None:
    """Label points with their trial numbers, the last first, as far as space permits."""
    taken: list[tuple[float, float]] = []
    for place in reversed(range(len(numbers))):
        x, y = axes.transData.transform((costs[place], gains[place]))
        if len(taken) == _MOST_LABELS or any(abs(x - a) < 26 and abs(y - b) < 16 for a, b in taken):
            continue
        taken.append((x, y))
        axes.annotate(
            str(numbers[place]), (costs[place], gains[place]), xytext=(-7, 6),
            textcoords="offset points", ha="right", fontsize=SMALL, color=INK,
        )  # fmt: skip
