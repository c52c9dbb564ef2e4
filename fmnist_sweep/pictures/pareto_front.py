"""The Pareto front of several objectives, and how much of the box it dominates, by time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from fmnist_sweep.analysis.fronts import FrontHistory
from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.objective_schema import Bound
from fmnist_sweep.pictures.labels import number_points
from fmnist_sweep.pictures.scales import draw_scores, score_axis, time_unit, use_log
from fmnist_sweep.pictures.style import (
    BLUE,
    FAINT,
    LOOKS,
    RED,
    SMALL,
    NothingToShow,
    finish,
    new_figure,
    plain_number,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def front_and_hypervolume(history: FrontHistory) -> Figure:
    """Draw the first objective over each of the others, with the front, and the hypervolume by
    running time.

    Raises:
        NothingToShow: there is one objective, or no trial completed.
    """
    further = len(history.objectives) - 1
    if not further:
        raise NothingToShow("Pareto front: there is one objective")
    if not len(history.trials):
        raise NothingToShow("Pareto front: no trial completed")
    on_front = int(history.is_on_front.sum())
    figure = new_figure(
        4.6 * (further + 1),
        4.2,
        "Pareto front",
        f"{counted(len(history.trials), 'completed trial')}; circled, with numbers: the {on_front} "
        "of the front; filled: the winner",
    )
    panels = figure.subplots(1, further + 1, squeeze=False)[0]
    for place, axes in enumerate(panels[:-1], start=1):
        _draw_front(axes, history, place)
    _draw_hypervolumes(panels[-1], history)
    return finish(figure)


def _draw_front(axes: Axes, history: FrontHistory, place: int) -> None:
    """Draw the first objective over that at `place`."""
    first, other = history.objectives[0], history.objectives[place]
    gains, costs = history.scores[:, 0], history.scores[:, place]
    style_axes(axes, x=other.metric, y=first.metric)
    ends = score_axis(axes, gains, first.direction)
    low, high = float(costs.min()), float(costs.max())
    if low > 0.0 and high >= 3.0 * low:
        use_log(axes, low, high)
    else:
        margin = 0.06 * (high - low) or 0.2 * abs(high) or 1.0
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.set_major_formatter(lambda number, _: plain_number(number))
    draw_scores(axes, costs, gains, ends, LOOKS[0], faint=True)
    shown = history.is_on_front & (gains >= ends[0]) & (gains <= ends[1])
    in_order = np.flatnonzero(shown)[np.argsort(costs[shown], kind="stable")]
    if len(history.objectives) == 2:
        # What the front dominates lies on the side where the other objective is worse.
        side: Literal["post", "pre"] = "post" if other.direction == "min" else "pre"
        axes.step(
            costs[in_order], gains[in_order], where=side, color=RED, linewidth=1.4, zorder=1.5
        )
    axes.plot(
        costs[in_order], gains[in_order], "o", markersize=10, markerfacecolor="none",
        markeredgecolor=RED, markeredgewidth=1.3,
    )  # fmt: skip
    winner = history.winner
    if winner is not None and shown[winner]:
        axes.plot(costs[winner], gains[winner], "o", markersize=10, color=RED)
    _draw_bound(axes, history.bounds.get(other.metric))
    number_points(axes, history.trials[in_order].tolist(), costs[in_order], gains[in_order])


def _draw_bound(axes: Axes, bound: Bound | None) -> None:
    low, high = axes.get_xlim()
    if bound is None or bound.limit is None or not low < bound.limit < high:
        return
    axes.axvline(bound.limit, color=FAINT, linewidth=1.0, linestyle=(0, (4, 2)))
    side = "at most" if bound.max is not None else "at least"
    axes.annotate(
        f"chosen: {side} {plain_number(bound.limit)}", (bound.limit, 1.0),
        xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
        ha="center", fontsize=SMALL, color=FAINT,
    )  # fmt: skip


def _draw_hypervolumes(axes: Axes, history: FrontHistory) -> None:
    longest = float(history.seconds.max())
    unit, name = time_unit(longest)
    style_axes(axes, x=f"running time, {name}", y="hypervolume")
    axes.step(history.seconds / unit, history.hypervolumes, where="post", color=BLUE, linewidth=2.0)
    axes.plot(history.seconds / unit, history.hypervolumes, "o", markersize=3.5, color=BLUE)
    axes.set_xlim(0.0, 1.03 * longest / unit or 1.0)
    axes.set_ylim(0.0, 1.03)
    end = float(history.hypervolumes[-1])
    axes.annotate(
        f"{end:.3f}", (history.seconds[-1] / unit, end), xytext=(0, 6),
        textcoords="offset points", ha="right", color=BLUE, fontsize=SMALL, fontweight="bold",
    )  # fmt: skip
