"""The history of a sweep as arrays: best score by trial and by time, and trials by rung."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.records import (
    Asked,
    Begun,
    EpochEnded,
    Paused,
    Record,
    Told,
    TrialStatus,
)

LONGEST_GAP = 60.0
"""Seconds: a longer gap between two periods of training is a pause of the sweep."""


@dataclass(frozen=True, eq=False)
class ByTrial:
    """The trials in the order of their first results: numbers, int64 (n,), final scores, float64
    (n,), nan for failed trials, and the best so far, float64 (n,), nan before the first score."""

    objective: Objective
    trials: NDArray[np.int64]
    scores: NDArray[np.float64]
    best: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ByTime:
    """All results with a score, by time: `seconds` float64 (n,), since the start of the sweep,
    without pauses; `trials` int64 (n,); `scores` and `best`, the best so far, float64 (n,). A
    promoted trial appears once per rung."""

    objective: Objective
    seconds: NDArray[np.float64]
    trials: NDArray[np.int64]
    scores: NDArray[np.float64]
    best: NDArray[np.float64]


@dataclass(frozen=True)
class RungReached:
    """The trials of a bracket that were trained up to `epoch`, and their scores there (None if
    failed); `went_on` are those that were promoted."""

    epoch: int
    scores: dict[int, float | None]
    went_on: frozenset[int]


@dataclass(frozen=True)
class Bracket:
    """The trials that began with a rung of so many epochs; rungs by their epochs."""

    begins_with: int
    rungs: tuple[RungReached, ...]


def by_trial(records: Sequence[Record], objective: Objective) -> ByTrial:
    """Return the best score by trial, from the search's own scores, without confirmations."""
    last: dict[int, Told | Paused] = {}  # keeps the position of the first result
    for record in records:
        if isinstance(record, Told | Paused):
            last[record.trial] = record
    scores = np.array([_score(told) for told in last.values()], dtype=np.float64)
    trials = np.array(list(last), dtype=np.int64)
    return ByTrial(objective, trials, scores, best_so_far(scores, objective))


def by_time(records: Sequence[Record], objective: Objective) -> ByTime:
    """Return the best score by running time. Trials that failed in the end are omitted, so that it
    ends with the best of `by_trial`."""
    answers = [record for record in records if isinstance(record, Told | Paused)]
    failed = {told.trial for told in answers if told.status is not TrialStatus.COMPLETED}
    scored = [told for told in answers if told.trial not in failed and np.isfinite(_score(told))]
    scored.sort(key=lambda told: told.at)
    scores = np.array([_score(told) for told in scored], dtype=np.float64)
    at = np.array([told.at for told in scored], dtype=np.float64)
    trials = np.array([told.trial for told in scored], dtype=np.int64)
    worked = WorkedTime.of(records)
    return ByTime(objective, worked.until(at), trials, scores, best_so_far(scores, objective))


def best_so_far(scores: NDArray[np.float64], objective: Objective) -> NDArray[np.float64]:
    """Return the best score up to each position, (n,); nan before the first score."""
    finite = np.where(np.isfinite(scores), scores, np.nan)
    best: NDArray[np.float64] = objective.sign * np.fmax.accumulate(objective.sign * finite)
    return best


@dataclass(frozen=True, eq=False)
class WorkedTime:
    """The periods in which a sweep was running, disjoint and in order; seconds since 1970, float64
    (n,)."""

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]

    @classmethod
    def of(cls, records: Iterable[Record]) -> WorkedTime:
        """Join the durations of epochs and rungs with the gaps that are not pauses.

        An epoch took its `epoch_seconds` before it was recorded, a rung its `seconds`. Time in
        which several workers trained counts once.
        """
        starts: list[float] = []
        ends: list[float] = []
        for start, end in sorted(_stretches(records)):
            if ends and start - ends[-1] < LONGEST_GAP:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        return cls(np.array(starts, dtype=np.float64), np.array(ends, dtype=np.float64))

    def until(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the running time, in seconds, up to each of the given times."""
        spent = np.clip(at[:, None] - self.starts, 0.0, self.ends - self.starts)
        total: NDArray[np.float64] = spent.sum(axis=1)
        return total


def brackets(records: Sequence[Record]) -> list[Bracket]:
    """Return who survived which rung, the bracket with the shortest first rung first; empty if no
    trial went on from one rung to the next."""
    scores = {r.ask: r.score for r in records if isinstance(r, Told)}
    asks = [r for r in records if isinstance(r, Asked)]
    if not any(ask.rung > 0 for ask in asks):
        return []
    begins_with = {ask.trial: ask.last_epoch for ask in asks if ask.rung == 0}
    latest = {ask.trial: ask.last_epoch for ask in asks}  # where its latest rung was to end
    rungs: dict[tuple[int, int], dict[int, float | None]] = {}
    for ask in asks:
        if ask.ask in scores:
            place = (begins_with[ask.trial], ask.last_epoch)
            rungs.setdefault(place, {})[ask.trial] = scores[ask.ask]
    made: dict[int, list[RungReached]] = {}
    for (first, epoch), reached in sorted(rungs.items()):
        went_on = frozenset(trial for trial in reached if latest[trial] > epoch)
        made.setdefault(first, []).append(RungReached(epoch, reached, went_on))
    return [Bracket(first, tuple(reached)) for first, reached in made.items()]


def _score(told: Told | Paused) -> float:
    return np.nan if told.score is None else told.score


def _stretches(records: Iterable[Record]) -> Iterable[tuple[float, float]]:
    for record in records:
        match record:
            case Begun():
                yield record.at, record.at
            case EpochEnded():
                yield record.at - record.metrics.get("epoch_seconds", 0.0), record.at
            case Told() | Paused():
                yield record.at - record.seconds, record.at
