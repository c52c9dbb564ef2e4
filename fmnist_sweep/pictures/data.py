"""Pictures of the data: samples of each class, and the classes' frequencies in each set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.material import DataMaterial
from fmnist_sweep.pictures.images import on_screen
from fmnist_sweep.pictures.style import (
    BLUE,
    INK,
    NORMAL,
    SMALL,
    NothingToShow,
    finish,
    new_figure,
    shown,
    shown_class,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLASSES_A_BAND = 10
_MANY_CLASSES = 30  # above this, two samples per class are shown
_SET_NAMES = {"official_test": "official test"}


def samples(data: DataMaterial) -> Figure:
    """Draw samples of each class, one column per class, ten classes per row.

    Raises:
        NothingToShow: there are no samples.
    """
    classes, most, image_height, image_width = data.samples.shape[:4]
    if data.samples.size == 0:
        raise NothingToShow(f"samples of {data.name}: there are none")
    rows = most if classes <= _MANY_CLASSES else min(most, 2)
    columns = min(classes, _CLASSES_A_BAND)
    bands = math.ceil(classes / columns)
    width = max(0.95 * columns, 4.0)
    height = bands * (0.93 * rows * image_height / image_width + 0.3) + 0.6
    figure = new_figure(width, height, f"Samples of {_title(data)}", f"source: {_source(data)}")
    for band in range(bands):
        first = band * columns
        axes = figure.add_subplot(bands, 1, band + 1)
        band_samples = data.samples[first : first + columns, :rows]
        names = [shown_class(data.class_names, first + c, 15) for c in range(len(band_samples))]
        _draw_band(axes, band_samples, names, columns)
    return finish(figure)


def augmented_samples(images: NDArray[np.uint8]) -> Figure:
    """Draw training images, one column per image: as they are, then as in each epoch; uint8
    (images, 1 + epochs, height, width, channels)."""
    columns, rows, image_height, image_width = images.shape[:4]
    width = max(0.95 * columns, 4.0)
    height = 0.93 * rows * image_height / image_width + 1.1
    figure = new_figure(width, height, "Augmented training images", "first row: as they are")
    axes = figure.subplots()
    _draw_band(axes, images, [], columns)
    return finish(figure)


def class_distribution(data: DataMaterial) -> Figure:
    """Draw the number of images per class, one panel per set, each with its own scale.

    Raises:
        NothingToShow: there are no sets.
    """
    if not data.counts:
        raise NothingToShow(f"classes of {data.name}: there are no sets")
    classes = len(data.class_names)
    size = NORMAL if classes <= 20 else max(4.5, 170 / classes)
    height = 1.5 + max(classes * size * 1.75 / 72, 0.8)
    figure = new_figure(
        max(2.3 * len(data.counts) + 1.2, 6.0),
        height,
        f"Images per class in {_title(data)}",
        "each set has its own scale",
    )
    panels = figure.subplots(1, len(data.counts), sharey=True, squeeze=False)[0]
    for axes, (name, counts) in zip(panels, data.counts.items(), strict=True):
        _draw_counts(axes, _SET_NAMES.get(name, name), counts, size)
    panels[0].set_yticks(
        range(classes),
        [shown_class(data.class_names, number, 24) for number in range(classes)],
        fontsize=size,
    )
    panels[0].set_ylim(classes - 0.4, -0.6)  # the first class on top
    return finish(figure)


def _draw_band(axes: Axes, band: NDArray[np.uint8], names: list[str], columns: int) -> None:
    """Draw some classes' samples, uint8 (classes, rows, height, width, channels), as one image."""
    classes, rows, height, width = band.shape[:4]
    gap = max(1, round(0.06 * max(height, width)))
    across, down = width + gap, height + gap
    mosaic = np.full((rows * down - gap, columns * across - gap, 3), 255, dtype=np.uint8)
    for column in range(classes):
        for row in range(rows):
            top, left = row * down, column * across
            mosaic[top : top + height, left : left + width] = on_screen(band[column, row])
    axes.imshow(mosaic, interpolation="antialiased")
    axes.set_axis_off()
    for column, name in enumerate(names):
        axes.text(
            column * across + width / 2, -gap, name,
            ha="center", va="bottom", fontsize=SMALL, color=INK,
        )  # fmt: skip


def _draw_counts(axes: Axes, name: str, counts: NDArray[np.int64], size: float) -> None:
    style_axes(axes, x="images", grid="x")
    axes.barh(range(len(counts)), counts, height=0.72, color=BLUE)
    axes.set_title(f"{name}, n = {counts.sum():,}", loc="left", fontsize=NORMAL, color=INK)
    most = max(int(counts.max(initial=0)), 1)
    axes.set_xlim(0, most * 1.3)
    axes.locator_params(axis="x", nbins=3, integer=True)
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    axes.tick_params(axis="y", length=0)
    for place, count in enumerate(counts):
        axes.text(
            count + 0.02 * most, place, f"{count:,}",
            va="center", fontsize=min(size, SMALL), color=INK,
        )  # fmt: skip


def _title(data: DataMaterial) -> str:
    made_up = " (synthetic)" if data.synthetic else ""
    return shown(data.name, 40) + made_up


def _source(data: DataMaterial) -> str:
    return shown(data.source, 100)
