"""The best score of one or several sweeps, by trial and by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.history import ByTime, ByTrial
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.pictures.scales import draw_scores, score_axis, time_unit
from fmnist_sweep.pictures.style import (
    LOOKS,
    RED,
    SMALL,
    Look,
    NothingToShow,
    finish,
    new_figure,
    shown,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Line = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], Look]


def best_by_trial(series: Mapping[str, ByTrial]) -> Figure:
    """Draw each trial's score, in the order of the first results, and the best so far.

    Args:
        series: sweeps by name, one or several, all with the same objective.

    Raises:
        NothingToShow: no trial completed.
        ValueError: the sweeps have different objectives.
    """
    from matplotlib.ticker import MaxNLocator

    objective = _objective([one.objective for one in series.values()])
    trials = {name: np.arange(1, len(one.trials) + 1.0) for name, one in series.items()}
    scored = sum(int(np.isfinite(one.scores).sum()) for one in series.values())
    failed = sum(len(one.scores) for one in series.values()) - scored
    figure = new_figure(
        8.0,
        4.2,
        f"Best {objective.metric} by trial",
        f"{_points(len(series))}; {scored} completed, {failed} failed",
    )
    axes = figure.add_subplot()
    style_axes(axes, x="trials", y=objective.metric)
    axes.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    _draw(
        axes,
        objective,
        {name: (trials[name], one.scores, one.best) for name, one in series.items()},
    )
    longest = max(len(one.trials) for one in series.values())
    axes.set_xlim(0.5, longest + 0.5 + 0.02 * longest)
    return finish(figure)


def best_by_time(series: Mapping[str, ByTime]) -> Figure:
    """Draw each score over the sweep's running time, without pauses, and the best so far.

    Args:
        series: sweeps by name, one or several, all with the same objective.

    Raises:
        NothingToShow: no trial completed.
        ValueError: the sweeps have different objectives.
    """
    objective = _objective([one.objective for one in series.values()])
    longest = max((float(one.seconds.max(initial=0.0)) for one in series.values()), default=0.0)
    unit, name_of_unit = time_unit(longest)
    figure = new_figure(
        8.0,
        4.2,
        f"Best {objective.metric} by time",
        f"{_points(len(series))}; one point per rung of a trial; pauses of the sweep excluded",
    )
    axes = figure.add_subplot()
    style_axes(axes, x=f"running time, {name_of_unit}", y=objective.metric)
    _draw(
        axes,
        objective,
        {name: (one.seconds / unit, one.scores, one.best) for name, one in series.items()},
    )
    axes.set_xlim(0.0, 1.03 * longest / unit or 1.0)
    return finish(figure)


def _objective(objectives: Sequence[Objective]) -> Objective:
    if not objectives:
        raise NothingToShow("best score: no sweeps given")
    if any(objective != objectives[0] for objective in objectives):
        told = ", ".join(sorted({f"{one.metric} ({one.direction})" for one in objectives}))
        raise ValueError(f"sweeps with different objectives cannot be compared: {told}")
    return objectives[0]


def _points(sweeps: int) -> str:
    return "points: trials; line: the best so far" + (" of each sweep" if sweeps > 1 else "")


def _draw(
    axes: Axes,
    objective: Objective,
    series: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]],
) -> None:
    """Draw each sweep's x positions, scores and best scores, each of shape (n,)."""
    scores = np.concatenate([scores for _, scores, _ in series.values()])
    if not np.isfinite(scores).any():
        raise NothingToShow(f"best {objective.metric}: no trial completed")
    low, high = score_axis(axes, scores, objective.direction)
    for number, (name, (places, scores, best)) in enumerate(series.items()):
        look = LOOKS[number % len(LOOKS)]
        alone = len(series) == 1
        draw_scores(axes, places, scores, (low, high), look, faint=not alone)
        there = np.isfinite(best)
        if not there.any():
            continue
        end = best[there][-1]
        axes.step(
            places[there], best[there], where="post", color=RED if alone else look.colour,
            linestyle="-" if alone else look.line, linewidth=2.0,
            label="best so far" if alone else f"{shown(name, 36)}: {end:.4f}",
        )  # fmt: skip
        if alone:
            first = int(np.argmax(best == end))
            axes.annotate(
                f"{end:.4f}", (places[first], end), xytext=(0, 5), textcoords="offset points",
                ha="center", color=RED, fontsize=SMALL, fontweight="bold",
            )  # fmt: skip
    # The corner below (or above) the steps is free for one sweep, but not always for several.
    axes.legend(
        fontsize=SMALL, frameon=False, loc="best" if len(series) > 1 else _corner(objective)
    )


def _corner(objective: Objective) -> Literal["lower right", "upper right"]:
    return "lower right" if objective.direction == "max" else "upper right"
