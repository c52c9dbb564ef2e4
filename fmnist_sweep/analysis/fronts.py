"""The Pareto front of a sweep with several objectives, and how it grew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.analysis.history import WorkedTime
from fmnist_sweep.config.objective_schema import AnyObjective, Bound
from fmnist_sweep.dominance import hypervolume
from fmnist_sweep.journal.records import Paused, Record, Told
from fmnist_sweep.journal.scores import costs_of
from fmnist_sweep.journal.state import SweepState


@dataclass(frozen=True, eq=False)
class FrontHistory:
    """The completed trials, in the order of their results.

    Attributes:
        objectives: the search's, the first one first.
        bounds: within which the winner is chosen, by an objective's name.
        trials: numbers, int64 (n,).
        seconds: the sweep's running time at each result, without pauses, float64 (n,).
        scores: float64 (n, objectives).
        is_on_front: bool (n,), at the end.
        winner: the winner's place among the trials; None without trials.
        hypervolumes: float64 (n,), after each result: how much of the box between the worst and the
            best score of all trials in each objective is dominated, 0..1.
    """

    objectives: tuple[AnyObjective, ...]
    bounds: dict[str, Bound]
    trials: NDArray[np.int64]
    seconds: NDArray[np.float64]
    scores: NDArray[np.float64]
    is_on_front: NDArray[np.bool_]
    winner: int | None
    hypervolumes: NDArray[np.float64]


def front_history(records: Sequence[Record], state: SweepState) -> FrontHistory:
    """Return how the front of a sweep grew; `state` is that after its records."""
    ranked = {trial.number: trial for trial in state.ranking()}
    last = {r.trial: r for r in records if isinstance(r, Told | Paused) and r.trial in ranked}
    told = sorted(last.values(), key=lambda record: record.at)
    trials = [record.trial for record in told]
    scores = np.array([ranked[number].scores for number in trials], dtype=np.float64)
    scores = scores.reshape(len(trials), len(state.objectives))
    at = np.array([record.at for record in told], dtype=np.float64)
    return FrontHistory(
        state.objectives,
        state.bounds,
        np.array(trials, dtype=np.int64),
        WorkedTime.of(records).until(at),
        scores,
        np.array([number in state.front for number in trials], dtype=np.bool_),
        trials.index(next(iter(ranked))) if ranked else None,
        _hypervolumes(scores, state.objectives),
    )


def _hypervolumes(
    scores: NDArray[np.float64], objectives: Sequence[AnyObjective]
) -> NDArray[np.float64]:
    if not len(scores):
        return np.empty(0)
    higher_is_better = -np.array([costs_of(row, objectives) for row in scores])
    worst, best = higher_is_better.min(axis=0), higher_is_better.max(axis=0)
    width = np.where(best > worst, best - worst, 1.0)
    # In an objective in which all are equal, all are the best.
    shares = np.where(best > worst, (higher_is_better - worst) / width, 1.0)
    found, volume, front = [], 0.0, shares[:0]
    for share in shares:
        if not (front >= share).all(axis=1).any():
            front = np.vstack([front[~(share >= front).all(axis=1)], share])
            volume = hypervolume(front, np.zeros(len(objectives)).tolist())
        found.append(volume)
    return np.array(found, dtype=np.float64)
