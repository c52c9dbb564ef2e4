"""The calibration of a winner's probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.material import WinnerMaterial
from fmnist_sweep.pictures.style import (
    BLUE,
    FAINT,
    INK,
    RED,
    SMALL,
    NothingToShow,
    finish,
    new_figure,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 15  # as in the paper


def calibration(winner: WinnerMaterial) -> Figure:
    """Draw a reliability diagram (Guo et al., "On Calibration of Modern Neural Networks", 2017):
    accuracy of the predictions in each bin of confidence.

    Raises:
        NothingToShow: there are no predictions.
    """
    if len(winner.labels) == 0:
        raise NothingToShow(f"calibration: trial {winner.trial} has no predictions")
    binned = _binned(winner.probabilities, winner.labels, BINS)
    error = expected_calibration_error(winner.probabilities, winner.labels, BINS)
    figure = new_figure(
        5.6,
        5.9,
        f"Trial {winner.trial}: expected calibration error {error:.3f}",
        f"{BINS} bins of equal width, test set, n = {len(winner.labels):,}; after Guo et al., 2017",
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_reliability(above, binned)
    _draw_counts(below, binned)
    return finish(figure)


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = BINS
) -> float:
    """Return the expected calibration error, 0..1: the mean gap between confidence and accuracy.

    Predictions are put into bins of equal width by confidence, each bin open below and closed
    above, and each bin is weighted by its share of the predictions (Naeini et al., 2015; Guo et
    al., 2017).

    Args:
        probabilities: (n, classes), rows that sum to 1.
        labels: (n,), indices of the true classes.
        bins: number of bins.

    Raises:
        ValueError: n is 0.
    """
    if len(labels) == 0:
        raise ValueError("cannot compute the calibration error of 0 predictions")
    binned = _binned(probabilities, labels, bins)
    weights = binned.answers / len(labels)
    return float(np.sum(weights * np.abs(binned.accuracy - binned.sureness)))


@dataclass(frozen=True, eq=False)
class _Binned:
    """Bin edges, (bins + 1,), and per bin, (bins,), the number of predictions and their mean
    confidence and accuracy (0 for an empty bin)."""

    edges: NDArray[np.float64]
    answers: NDArray[np.int64]
    sureness: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def _binned(probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int) -> _Binned:
    sureness = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    places = np.clip(np.ceil(sureness * bins).astype(np.int64) - 1, 0, bins - 1)
    answers = np.bincount(places, minlength=bins)
    divisors = np.maximum(answers, 1)
    return _Binned(
        edges,
        answers,
        np.bincount(places, weights=sureness, minlength=bins) / divisors,
        np.bincount(places, weights=right, minlength=bins) / divisors,
    )


def _draw_reliability(axes: Axes, binned: _Binned) -> None:
    style_axes(axes, y="accuracy")
    there = binned.answers > 0
    lefts, width = binned.edges[:-1][there], binned.edges[1]
    axes.plot(
        [0, 1],
        [0, 1],
        color=FAINT,
        linestyle="--",
        linewidth=1.4,
        zorder=4,
        label="perfectly calibrated",
    )
    axes.bar(
        lefts, binned.accuracy[there], width, align="edge", color=BLUE, edgecolor="white",
        label="accuracy",
    )  # fmt: skip
    gaps = binned.sureness[there] - binned.accuracy[there]
    axes.bar(
        lefts, gaps, width, bottom=binned.accuracy[there], align="edge", color="none",
        edgecolor=RED, hatch="////", linewidth=0.8, label="gap to the confidence",
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper left")


def _draw_counts(axes: Axes, binned: _Binned) -> None:
    style_axes(axes, x="confidence (probability of the predicted class)", y="images", grid="y")
    axes.bar(
        binned.edges[:-1], binned.answers, binned.edges[1], align="edge", color=FAINT,
        edgecolor="white",
    )  # fmt: skip
    axes.set_yscale("symlog", linthresh=1)  # the most confident bin holds nearly all images
    most = int(binned.answers.max())
    ticks = [0] + [10**power for power in range(7) if 10**power <= most]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks], color=INK)
    axes.set_yticks([], minor=True)
    axes.set_ylim(0, most * 2)
