"""Which trials went on from one rung to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fmnist_sweep.analysis.history import Bracket
from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.pictures.scales import score_axis
from fmnist_sweep.pictures.style import (
    BLUE,
    FAINT,
    INK,
    NORMAL,
    SMALL,
    NothingToShow,
    finish,
    new_figure,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def rung_survival(brackets: Sequence[Bracket], objective: Objective) -> Figure:
    """Draw one panel per bracket: each trial's score at each rung, connected where the trial was
    promoted, and the number of trials per rung.

    Raises:
        NothingToShow: there are no brackets, or no trial in them completed a rung.
    """
    scores = [s for b in brackets for rung in b.rungs for s in rung.scores.values()]
    finite = np.array([s for s in scores if s is not None and np.isfinite(s)], dtype=np.float64)
    if not len(finite):
        raise NothingToShow("survival of rungs: no trial of a bracket completed a rung")
    widths = [len(bracket.rungs) for bracket in brackets]
    figure = new_figure(
        min(max(1.5 * sum(widths) + 1.2, 6.0), 14.0),
        4.4,
        "Trials by rung",
        "filled: promoted; hollow: stopped; x: failed; arrow: off the scale",
    )
    panels = figure.subplots(1, len(brackets), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, bracket in zip(panels, brackets, strict=True):
        style_axes(axes, x="epoch", y=objective.metric if axes is panels[0] else "", grid="y")
        ends = score_axis(axes, finite, objective.direction)
        axes.set_title(_title(bracket), loc="left", fontsize=NORMAL, color=INK, pad=20)
        _draw_bracket(axes, bracket, ends, objective.sign)
    return finish(figure)


def _title(bracket: Bracket) -> str:
    return f"begun with {counted(bracket.begins_with, 'epoch')}"


def _draw_bracket(axes: Axes, bracket: Bracket, ends: tuple[float, float], sign: float) -> None:
    places: dict[int, tuple[float, float]] = {}  # by trial: its point at the previous rung
    for number, rung in enumerate(bracket.rungs):
        # Spread horizontally, the best on the right, so that no point hides another.
        ordered = sorted(rung.scores.items(), key=lambda told: _goodness(told[1], sign))
        spread = np.linspace(-0.34, 0.34, len(ordered)) if len(ordered) > 1 else [0.0]
        for shift, (trial, score) in zip(spread, ordered, strict=True):
            goes_on = trial in rung.went_on
            marker, height = _mark(score, ends)
            point = (number + float(shift), height)
            if trial in places:
                before = places[trial]
                axes.plot(*zip(before, point, strict=True), color=BLUE, linewidth=0.9, alpha=0.5)
            places[trial] = point
            axes.plot(
                *point, marker=marker, color=BLUE, zorder=3, clip_on=False,
                markersize=5.5 if len(ordered) <= 30 else 4.0,
                markerfacecolor=BLUE if goes_on else "white", markeredgewidth=1.2,
            )  # fmt: skip
        axes.annotate(
            f"n = {len(rung.scores)}", (number, 1.0), xycoords=("data", "axes fraction"),
            xytext=(0, 6), textcoords="offset points", ha="center", fontsize=SMALL, color=FAINT,
        )  # fmt: skip
    axes.set_xticks(range(len(bracket.rungs)), [str(rung.epoch) for rung in bracket.rungs])
    axes.set_xlim(-0.5, len(bracket.rungs) - 0.5)


def _goodness(score: float | None, sign: float) -> float:
    return -np.inf if score is None or not np.isfinite(score) else sign * score


def _mark(score: float | None, ends: tuple[float, float]) -> tuple[str, float]:
    low, high = ends
    if score is None or not np.isfinite(score):
        return "x", low
    if score < low:
        return "v", low
    return ("^", high) if score > high else ("o", score)
