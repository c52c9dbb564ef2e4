"""Pictures of a winner's training and of its best weights' predictions for the test set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.material import WinnerMaterial
from fmnist_sweep.pictures.images import on_screen
from fmnist_sweep.pictures.style import (
    BLUE,
    INK,
    LOOKS,
    NORMAL,
    RED,
    SMALL,
    NothingToShow,
    counted,
    finish,
    new_figure,
    shown_class,
    style_axes,
)
from fmnist_sweep.training.results import EpochRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WITH_COUNTS = 20  # up to this many classes, a confusion matrix shows counts


def learning_curves(history: Sequence[EpochRecord], best_epoch: int) -> Figure:
    """Draw training and, if present, validation loss and accuracy by epoch, with the best epoch
    marked.

    Raises:
        NothingToShow: there are no epochs.
    """
    if not history:
        raise NothingToShow("learning curves: no epoch was trained")
    figure = new_figure(9.0, 3.7, "Learning curves")
    panels = figure.subplots(1, 2, squeeze=False)[0]
    for axes, metric in zip(panels, ("loss", "accuracy"), strict=True):
        _draw_curves(axes, history, metric, best_epoch)
    return finish(figure)


def confusion_matrix(winner: WinnerMaterial, class_names: Sequence[str]) -> Figure:
    """Draw the confusion matrix: shades are shares of a class's images, numbers are counts (omitted
    above 20 classes).

    Raises:
        NothingToShow: there are no predictions.
    """
    from sklearn.metrics import confusion_matrix as count

    _check_answered(winner, "confusion matrix")
    classes = len(class_names)
    counts = count(winner.labels, _answers(winner), labels=range(classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(0.52 * classes, 3.2), 9.0)
    figure = new_figure(
        side + 1.7,
        side + 1.6,
        f"Confusion matrix of trial {winner.trial}",
        f"test set, n = {len(winner.labels):,}; shade: share of the class's images",
    )
    axes = figure.add_subplot()
    style_axes(axes, x="answer", y="label", grid="none")
    # The square root makes rare mistakes visible beside a diagonal near 1.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    for spine in axes.spines.values():
        spine.set_visible(False)
    size = NORMAL if classes <= _WITH_COUNTS else max(3.5, 72 * side / classes * 0.75)
    names = [shown_class(class_names, number, 18) for number in range(classes)]
    axes.set_xticks(
        range(classes),
        names,
        rotation=90 if classes > 12 else 40,
        fontsize=size,
        ha="center" if classes > 12 else "right",
        rotation_mode="anchor" if classes <= 12 else "default",
    )
    axes.set_yticks(range(classes), names, fontsize=size)
    axes.tick_params(length=0)
    if classes <= _WITH_COUNTS:
        for label, answer in np.argwhere(counts > 0):
            axes.text(
                answer, label, f"{counts[label, answer]:,}", ha="center", va="center",
                fontsize=SMALL, color="white" if shares[label, answer] > 0.3 else INK,
            )  # fmt: skip
    return finish(figure)


def accuracy_by_class(winner: WinnerMaterial, class_names: Sequence[str]) -> Figure:
    """Draw the test accuracy of each class, the best class on top, with 95 % Wilson intervals
    (1927).

    Raises:
        NothingToShow: there are no predictions.
    """
    _check_answered(winner, "accuracy by class")
    right = _answers(winner) == winner.labels
    classes = len(class_names)
    images = np.bincount(winner.labels, minlength=classes)
    hits = np.bincount(winner.labels, weights=right, minlength=classes)
    order = [c for c in np.argsort(-hits / np.maximum(images, 1), kind="stable") if images[c]]
    accuracy, low, high = _wilson(hits[order].astype(np.float64), images[order])
    size = NORMAL if classes <= 20 else max(4.5, 170 / classes)
    figure = new_figure(
        7.0,
        1.4 + max(len(order) * size * 1.9 / 72, 0.8),
        f"Accuracy by class of trial {winner.trial}",
        f"test set, n = {len(right):,}; lines: 95 % Wilson intervals",
    )
    axes = figure.add_subplot()
    style_axes(axes, x="accuracy")
    places = np.arange(len(order))
    axes.hlines(places, low, high, color=BLUE, linewidth=2.2, alpha=0.45)
    axes.plot(accuracy, places, "o", color=BLUE, markersize=6)
    axes.axvline(right.mean(), color=RED, linestyle="--", linewidth=1.2)
    axes.annotate(
        f"all {right.mean():.3f}", (right.mean(), 1.0), xycoords=("data", "axes fraction"),
        xytext=(0, 3), textcoords="offset points", ha="center", color=RED, fontsize=SMALL,
    )  # fmt: skip
    names = [f"{shown_class(class_names, c, 24)} ({images[c]:,})" for c in order]
    axes.set_yticks(places, names, fontsize=size)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(max(0.0, low.min() - 0.02), min(1.0, high.max()) + 0.01)
    return finish(figure)


def confidently_wrong(winner: WinnerMaterial, class_names: Sequence[str]) -> Figure:
    """Draw the most confident wrong predictions for the test set: label, prediction, probability.

    Raises:
        NothingToShow: no prediction was wrong.
    """
    shown_images = len(winner.wrong)
    if shown_images == 0:
        raise NothingToShow("confidently wrong images: no prediction was wrong")
    columns = min(shown_images, 6)
    rows = math.ceil(shown_images / columns)
    height, width = winner.wrong_images.shape[1:3]
    mistakes = int((_answers(winner) != winner.labels).sum())
    figure = new_figure(
        max(1.5 * columns, 5.0),
        rows * (1.4 * height / width + 0.55) + 0.6,
        f"Most confident mistakes of trial {winner.trial}",
        f"label → prediction, p: its probability; {shown_images} of {counted(mistakes, 'mistake')} "
        f"in the test set, n = {len(winner.labels):,}",
    )
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, axes in enumerate(panels):
        axes.set_axis_off()
        if place >= shown_images:
            continue
        row = winner.wrong[place]
        answer = int(winner.probabilities[row].argmax())
        axes.imshow(on_screen(winner.wrong_images[place]), interpolation="antialiased")
        label = shown_class(class_names, winner.labels[row], 19)
        chance = _chance(float(winner.probabilities[row, answer]))
        axes.set_title(
            f"{label}\n→ {shown_class(class_names, answer, 17)}\n{chance}",
            fontsize=SMALL, color=INK, linespacing=1.15, pad=3,
        )  # fmt: skip
    return finish(figure)


def _draw_curves(axes: Axes, history: Sequence[EpochRecord], metric: str, best_epoch: int) -> None:
    style_axes(axes, x="epoch", y=metric)
    epochs = [record.epoch for record in history]
    for look, name, key in (
        (LOOKS[1], "train", metric),
        (LOOKS[0], "validation", f"val_{metric}"),
    ):
        if key not in history[0].metrics:
            continue
        values = [record.metrics.get(key, math.nan) for record in history]
        axes.plot(
            epochs, values, color=look.colour, linestyle=look.line, marker=look.marker,
            markersize=4.5 if len(epochs) <= 30 else 0, linewidth=1.8, label=name,
        )  # fmt: skip
        if best_epoch in epochs and name == ("validation" if _validates(history) else "train"):
            best = values[epochs.index(best_epoch)]
            axes.plot(
                best_epoch,
                best,
                "o",
                markersize=12,
                markerfacecolor="none",
                color=RED,
                markeredgewidth=1.6,
            )
            axes.axvline(
                best_epoch,
                color=RED,
                linewidth=0.9,
                linestyle=":",
                zorder=0.5,
                label=f"best epoch, {best_epoch}: {best:.4f}",
            )
    axes.locator_params(axis="x", integer=True, nbins=9)
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
        axes.set_xticks(epochs)
    axes.legend(fontsize=SMALL, frameon=False)


def _validates(history: Sequence[EpochRecord]) -> bool:
    return "val_loss" in history[0].metrics


def _answers(winner: WinnerMaterial) -> NDArray[np.int64]:
    answers: NDArray[np.int64] = winner.probabilities.argmax(axis=1)
    return answers


def _check_answered(winner: WinnerMaterial, what: str) -> None:
    if len(winner.labels) == 0:
        raise NothingToShow(f"{what}: trial {winner.trial} has no predictions")


def _wilson(
    hits: NDArray[np.float64], images: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    z = 1.96
    share = hits / images
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * np.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2)
    return share, np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def _chance(probability: float) -> str:
    return "p > 0.999" if probability > 0.9995 else f"p {probability:.3f}"
