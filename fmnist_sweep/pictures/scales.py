"""Axes for scores, log scales and times, and points on a score axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.metrics import Direction, sign_of
from fmnist_sweep.pictures.style import Look, duration, plain_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROUND_TIMES = (
    0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 3 * 3600, 10 * 3600, 86400, 3 * 86400,
    10 * 86400,
)  # fmt: skip


def score_axis(
    axes: Axes, scores: NDArray[np.float64], direction: Direction
) -> tuple[float, float]:
    """Set the y axis to the range that shows differences between scores, and return it."""
    from matplotlib.ticker import MaxNLocator

    low, high = zoomed(scores, direction)
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    return low, high


def zoomed(
    scores: NDArray[np.float64], direction: Direction, margin: float = 0.06
) -> tuple[float, float]:
    """Return the range of a score axis that shows differences between scores.

    The range holds all scores, unless a few are so much worse that the others could not be told
    apart; those are drawn as arrows at its edge.
    """
    sign = sign_of(direction)
    good = sign * scores[np.isfinite(scores)]
    best, middle, worst = float(good.max()), float(np.median(good)), float(good.min())
    if best > middle:
        worst = float(good[good >= middle - 4 * (best - middle)].min())
    pad = margin * (best - worst) if best > worst else 0.02 * abs(best)
    pad = pad or 0.02  # if all scores are 0 or underflow
    low, high = sorted((sign * (worst - pad), sign * (best + pad)))
    return low, high


def draw_scores(
    axes: Axes,
    places: NDArray[np.float64],
    scores: NDArray[np.float64],
    ends: tuple[float, float],
    look: Look,
    *,
    faint: bool = False,
    label: str | None = None,
) -> None:
    """Draw one point per score; scores outside the axis are hollow arrows at its edge."""
    low, high = ends
    inside = (scores >= low) & (scores <= high)
    axes.plot(
        places[inside], scores[inside], linestyle="none", marker=look.marker, color=look.colour,
        markersize=4 if faint else 5.5, alpha=0.45 if faint else 0.8, markeredgewidth=0,
        label=label,
    )  # fmt: skip
    for outside, edge, marker in ((scores < low, low, "v"), (scores > high, high, "^")):
        if outside.any():
            axes.plot(
                places[outside], np.full(outside.sum(), edge), linestyle="none", marker=marker,
                color=look.colour, markersize=6, markerfacecolor="white", clip_on=False,
            )  # fmt: skip


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Return evenly spaced round numbers within a range."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(most - 1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in ticks if low - 1e-12 <= tick <= high + 1e-12]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers within a positive range, for a log axis."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [d * 10.0**e for e in exponents for d in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            break
    return ticks[:: math.ceil(len(ticks) / most)] if ticks else [low, high]


def use_log(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic, with plain numbers as tick labels."""
    ends = _log_ends(axes, low, high)
    ticks = log_ticks(*ends)
    axes.set_xticks(ticks, [plain_number(tick) for tick in ticks])


def use_log_time(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic in seconds, with tick labels such as `1.5 min`."""
    first, last = _log_ends(axes, low, high)
    ticks = [float(time) for time in _ROUND_TIMES if first <= time <= last]
    axes.set_xticks(ticks, [duration(tick) for tick in ticks])


def _log_ends(axes: Axes, low: float, high: float) -> tuple[float, float]:
    ends = (low / 1.15, high * 1.15)
    axes.set_xscale("log")
    axes.set_xlim(*ends)
    axes.set_xticks([], minor=True)
    return ends


def time_unit(longest: float) -> tuple[float, str]:
    """Return the best unit, in seconds, for an axis of up to `longest` seconds, and its name."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest >= 2 * unit:
            return unit, name
    return 1.0, "seconds"
