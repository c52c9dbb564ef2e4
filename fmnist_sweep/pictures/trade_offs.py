"""Accuracy against number of parameters, and against training time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.metrics import metric_of
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.pictures.labels import number_points
from fmnist_sweep.pictures.scales import draw_scores, score_axis, time_unit, use_log, use_log_time
from fmnist_sweep.pictures.style import (
    LOOKS,
    RED,
    SMALL,
    Look,
    NothingToShow,
    counted,
    finish,
    new_figure,
    plain_number,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def accuracy_against_parameters(state: SweepState) -> Figure:
    """Draw the test accuracy of every completed trial over its number of parameters, with the
    Pareto front.

    Raises:
        NothingToShow: no trial completed.
    """
    trials, accuracy = _completed(state)
    parameters = np.array([float(t.result.parameters) for t in trials if t.result is not None])
    figure, axes = _new("parameters", len(trials))
    style_axes(axes, x="parameters", y="test_accuracy")
    low, high = float(parameters.min()), float(parameters.max())
    if _is_wide(low, high):
        use_log(axes, low, high)
    else:
        _leave_margins(axes, low, high)
        axes.xaxis.set_major_formatter(lambda number, _: plain_number(number))
    _draw(axes, trials, parameters, accuracy)
    return finish(figure)


def accuracy_against_time(state: SweepState) -> Figure:
    """Draw the test accuracy of every completed trial over its training time, with the Pareto
    front.

    Raises:
        NothingToShow: no trial completed.
    """
    trials, accuracy = _completed(state)
    seconds = np.array([t.result.train_seconds for t in trials if t.result is not None])
    figure, axes = _new("training time", len(trials))
    low, high = float(seconds.min()), float(seconds.max())
    if _is_wide(low, high):
        style_axes(axes, x="training time", y="test_accuracy")
        use_log_time(axes, low, high)
        _draw(axes, trials, seconds, accuracy)
    else:
        unit, name = time_unit(high)
        style_axes(axes, x=f"training time, {name}", y="test_accuracy")
        _leave_margins(axes, low / unit, high / unit)
        _draw(axes, trials, seconds / unit, accuracy)
    return finish(figure)


def pareto_front(costs: NDArray[np.float64], gains: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices on the Pareto front, by ascending cost: no other point is at least as good
    in both cost and gain and better in one. Of equal points the first is kept."""
    front: list[int] = []
    # By ascending cost, then by descending gain, then by index.
    for place in np.lexsort((np.arange(len(costs)), -gains, costs)):
        if not front or gains[place] > gains[front[-1]]:
            front.append(int(place))
    return np.array(front, dtype=np.int64)


def _completed(state: SweepState) -> tuple[list[Trial], NDArray[np.float64]]:
    trials = [trial for trial in state.ranking() if trial.result is not None]
    trials.sort(key=lambda trial: trial.number)
    if not trials:
        raise NothingToShow("accuracy of the trials: no trial completed")
    accuracy = [trial.result.test_accuracy for trial in trials if trial.result is not None]
    return trials, np.array(accuracy, dtype=np.float64)


def _new(cost: str, trials: int) -> tuple[Figure, Axes]:
    figure = new_figure(
        7.6,
        4.4,
        f"Accuracy against {cost}",
        f"{counted(trials, 'completed trial')}; circled, with numbers: the Pareto front",
    )
    return figure, figure.add_subplot()


def _is_wide(low: float, high: float) -> bool:
    return low > 0 and high >= 3 * low


def _leave_margins(axes: Axes, low: float, high: float) -> None:
    margin = 0.06 * (high - low) or 0.2 * high or 1.0
    axes.set_xlim(low - margin, high + margin)


def _draw(
    axes: Axes,
    trials: Sequence[Trial],
    costs: NDArray[np.float64],
    accuracy: NDArray[np.float64],
) -> None:
    ends = score_axis(axes, accuracy, metric_of("accuracy").direction)
    epochs = np.array([len(trial.history) for trial in trials])
    for look, name, chosen in _budgets(epochs):
        draw_scores(axes, costs[chosen], accuracy[chosen], ends, look, label=name)
    front = pareto_front(costs, accuracy)
    inside = front[accuracy[front] >= ends[0]]
    axes.step(costs[inside], accuracy[inside], where="post", color=RED, linewidth=1.4, zorder=1.5)
    axes.plot(
        costs[inside], accuracy[inside], "o", markersize=11, markerfacecolor="none",
        markeredgecolor=RED, markeredgewidth=1.4,
    )  # fmt: skip
    number_points(axes, [trials[place].number for place in inside], costs[inside], accuracy[inside])
    if len(np.unique(epochs)) > 1:
        axes.legend(
            fontsize=SMALL,
            frameon=False,
            loc="best",
            title="trained for",
            title_fontsize=SMALL,
        )


def _budgets(epochs: NDArray[np.int64]) -> list[tuple[Look, str, NDArray[np.bool_]]]:
    """Group trials by epochs, each group with its style: at most four groups, the longest first."""
    different = np.unique(epochs)[::-1]
    if len(different) > 4:
        edges = np.unique(np.quantile(epochs, [0.25, 0.5, 0.75], method="nearest"))
        groups = np.searchsorted(edges, epochs, side="left")
        chosen = [groups == group for group in np.unique(groups)[::-1]]
    else:
        chosen = [epochs == number for number in different]
    return [(LOOKS[i], _epochs(epochs[c]), c) for i, c in enumerate(chosen)]


def _epochs(epochs: NDArray[np.int64]) -> str:
    few, many = int(epochs.min()), int(epochs.max())
    if few != many:
        return f"{few} to {many} epochs"
    return "1 epoch" if many == 1 else f"{many} epochs"
