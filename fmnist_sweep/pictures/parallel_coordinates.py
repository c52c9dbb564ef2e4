"""All searched values of all trials in one figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.searched import SearchedValue, searched_values
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.pictures.scales import log_ticks, round_ticks, zoomed
from fmnist_sweep.pictures.style import (
    FAINT,
    INK,
    RED,
    SHADES,
    SMALL,
    NothingToShow,
    counted,
    finish,
    new_figure,
    plain_number,
    shown,
)
from fmnist_sweep.space.space import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABSENT = -0.13  # position of values that do not exist for a trial
_NOWHERE = "\N{EN DASH}"
_FEW = 6  # up to this many levels are all labelled
_SPREAD = 0.028  # distance between trials with the same level


def parallel_coordinates(state: SweepState, space: Space) -> Figure:
    """Draw one axis per searched value, with the score's axis last, and one line per completed
    trial.

    Better trials are darker and drawn on top, the best one in red. A value that does not exist for
    a trial is marked by a dash below its axis; values that are equal in all trials have no axis.

    Raises:
        NothingToShow: no trial completed.
    """
    trials = state.ranking()
    metric, direction = state.objective.metric, state.objective.direction
    if not trials:
        raise NothingToShow(f"searched values and {metric}: no trial completed")
    scores = np.array([trial.score for trial in trials], dtype=np.float64)
    values = searched_values(trials, space)
    # With a single trial nothing differs, and every value is drawn.
    drawn = [value for value in values if value.varies or len(trials) == 1]
    same = len(values) - len(drawn)
    foot = f"{counted(len(trials), 'completed trial')}; darker: better; "
    foot += f"red: the best, trial {trials[0].number}"
    if any(np.isnan(value.places).any() for value in drawn):
        foot += f"; {_NOWHERE}: does not exist for the trial"
    if same:
        foot += f"; {counted(same, 'value')} with no differences omitted"
    figure = new_figure(
        min(max(1.25 * (len(drawn) + 1), 7.5), 15.0), 5.2, f"Searched values and {metric}", foot
    )
    axes = figure.add_subplot()
    low, high = zoomed(scores, direction, margin=0.0)
    heights = np.clip((scores - low) / (high - low), 0.0, 1.0)
    places = np.column_stack([*(_spread(value, scores) for value in drawn), heights])
    _draw_lines(axes, places)
    room = max(3, min(6, 60 // (len(drawn) + 1)))
    for number, value in enumerate(drawn):
        _draw_axis(axes, number, value.name, _ticks(value, room), value.is_log)
    ticks = [((s - low) / (high - low), f"{s:.4g}") for s in round_ticks(low, high, 6)]
    _draw_axis(axes, len(drawn), metric, ticks, is_log=False)
    axes.set_xlim(-0.25, len(drawn) + 0.75)
    axes.set_ylim(_ABSENT - 0.07 if np.nanmin(places) < -0.05 else -0.07, 1.06)
    axes.set_axis_off()
    return finish(figure)


def _spread(value: SearchedValue, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where each trial crosses an axis; trials with the same level are spread slightly, in
    the order of their scores."""
    heights = np.where(np.isnan(value.places), _ABSENT, value.places)
    for level in np.unique(heights):
        here = np.flatnonzero(heights == level)
        if len(here) > 1:
            order = np.argsort(np.argsort(scores[here], kind="stable"), kind="stable")
            heights[here] += _SPREAD * (2.0 * order / (len(here) - 1) - 1.0)
    return heights


def _draw_lines(axes: Axes, places: NDArray[np.float64]) -> None:
    """Draw the trials' lines, (trials, axes), the best trial first."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    columns = np.arange(places.shape[1])
    lines = [np.column_stack([columns, row]) for row in places[:0:-1]]
    # By rank: with a linear scale, one outlier would give all other lines the same shade.
    shades = LinearSegmentedColormap.from_list("shades", SHADES)
    dense = len(lines) > 60
    axes.add_collection(
        LineCollection(
            lines,
            colors=shades(np.linspace(0.0, 1.0, len(lines))) if lines else [],
            linewidths=0.9 if dense else 1.4,
        )
    )
    axes.plot(
        columns, places[0], color=RED, linewidth=2.4, marker="o", markersize=5, zorder=4,
        markeredgecolor="white",
    )  # fmt: skip


def _draw_axis(
    axes: Axes, number: int, name: str, ticks: list[tuple[float, str]], is_log: bool
) -> None:
    axes.plot([number, number], [0.0, 1.0], color=INK, linewidth=0.9, zorder=3)
    axes.annotate(
        shown(name, 30) + (" (log)" if is_log else ""), (number, 1.0), xytext=(0, 8),
        textcoords="offset points", rotation=28, ha="left", va="bottom", rotation_mode="anchor",
        fontsize=SMALL, color=INK, annotation_clip=False,
    )  # fmt: skip
    for height, text in ticks:
        axes.plot([number - 0.02, number + 0.02], [height, height], color=INK, linewidth=0.9)
        axes.annotate(
            shown(text, 14), (number, height), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=SMALL - 1, color=INK if text != _NOWHERE else FAINT, zorder=5,
            bbox={"facecolor": "white", "alpha": 0.72, "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip


def _ticks(value: SearchedValue, room: int) -> list[tuple[float, str]]:
    """Return positions and labels of an axis's levels; numeric levels only as space permits."""
    ticks = list(zip(value.levels, value.texts, strict=True))
    if value.is_number and len(ticks) > max(room, _FEW):
        low, high = value.ends
        numbers = log_ticks(low, high, room) if value.is_log else round_ticks(low, high, room)
        ticks = [(value.place_of(number), plain_number(number)) for number in numbers]
    elif len(ticks) > 24:
        ticks = ticks[:: math.ceil(len(ticks) / 24)]
    if np.isnan(value.places).any():
        ticks.insert(0, (_ABSENT, _NOWHERE))
    return ticks
