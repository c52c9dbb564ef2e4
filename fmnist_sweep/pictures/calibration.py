"""The calibration of a winner's probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmnist_sweep.analysis.material import WinnerMaterial
from fmnist_sweep.metrics import (
    CALIBRATION_BINS,
    CalibrationBins,
    expected_calibration_error,
)
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


def calibration(winner: WinnerMaterial) -> Figure:
    """Draw a reliability diagram (Guo et al., "On Calibration of Modern Neural Networks", 2017):
    accuracy of the predictions in each bin of confidence.

    Raises:
        NothingToShow: there are no predictions.
    """
    if len(winner.labels) == 0:
        raise NothingToShow(f"calibration: trial {winner.trial} has no predictions")
    binned = CalibrationBins.of(winner.probabilities, winner.labels)
    error = expected_calibration_error(winner.probabilities, winner.labels)
    figure = new_figure(
        5.6,
        5.9,
        f"Trial {winner.trial}: expected calibration error {error:.3f}",
        f"{CALIBRATION_BINS} bins of equal width, test set, n = {len(winner.labels):,}; "
        "after Guo et al., 2017",
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _draw_reliability(above, binned)
    _draw_counts(below, binned)
    return finish(figure)


def _draw_reliability(axes: Axes, binned: CalibrationBins) -> None:
    style_axes(axes, y="accuracy")
    there = binned.predictions > 0
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
    gaps = binned.confidence[there] - binned.accuracy[there]
    axes.bar(
        lefts, gaps, width, bottom=binned.accuracy[there], align="edge", color="none",
        edgecolor=RED, hatch="////", linewidth=0.8, label="gap to the confidence",
    )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper left")


def _draw_counts(axes: Axes, binned: CalibrationBins) -> None:
    style_axes(axes, x="confidence (probability of the predicted class)", y="images", grid="y")
    axes.bar(
        binned.edges[:-1], binned.predictions, binned.edges[1], align="edge", color=FAINT,
        edgecolor="white",
    )  # fmt: skip
    axes.set_yscale("symlog", linthresh=1)  # the most confident bin holds nearly all images
    most = int(binned.predictions.max())
    ticks = [0] + [10**power for power in range(7) if 10**power <= most]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks], color=INK)
    axes.set_yticks([], minor=True)
    axes.set_ylim(0, most * 2)
