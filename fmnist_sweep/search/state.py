"""Where a sweep stands: a fold over its journal's records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fmnist_sweep.config.schema import Objective
from fmnist_sweep.search.records import (
    Asked,
    Begun,
    Confirmed,
    Ended,
    EpochEnded,
    FoundInfeasible,
    LookedAtOfficialTest,
    Record,
    Told,
    TrialStatus,
)
from fmnist_sweep.training.results import EpochRecord, RunResult


@dataclass
class Trial:
    """One point of the space and what became of it. `last_epoch` is where its latest rung was
    to end; early stopping may have ended it sooner."""

    number: int
    overrides: dict[str, Any]
    status: TrialStatus = TrialStatus.RUNNING
    rung: int = 0
    last_epoch: int = 0
    history: list[EpochRecord] = field(default_factory=list)
    result: RunResult | None = None
    score: float | None = None
    reason: str | None = None
    seconds: float = 0.0
    confirmations: list[Confirmed] = field(default_factory=list)

    @property
    def confirmed_score(self) -> tuple[float, float] | None:
        """Mean and standard deviation over the fresh seeds, None before there are two."""
        if len(self.confirmations) < 2:
            return None
        scores = [confirmed.score for confirmed in self.confirmations]
        return statistics.mean(scores), statistics.stdev(scores)


@dataclass
class SweepState:
    """Trials by number, and what else the journal told."""

    objective: Objective
    begun: Begun | None = None
    trials: dict[int, Trial] = field(default_factory=dict)
    asks: list[Asked] = field(default_factory=list)
    open_asks: dict[int, Asked] = field(default_factory=dict)
    infeasible: int = 0
    official: list[LookedAtOfficialTest] = field(default_factory=list)
    ended: Ended | None = None
    epochs_total: int = 0
    rung_seconds: float = 0.0
    ended_trials: set[int] = field(default_factory=set)
    failed_trials: set[int] = field(default_factory=set)

    @classmethod
    def after(cls, records: Iterable[Record], objective: Objective) -> SweepState:
        """Return the state after those records."""
        state = cls(objective)
        for record in records:
            state.apply(record)
        return state

    def apply(self, record: Record) -> None:
        """Take one record in. Whatever follows an end makes the sweep go on."""
        self.ended = record if isinstance(record, Ended) else None
        match record:
            case Begun():
                self.begun = record
            case Asked():
                self._asked(record)
            case FoundInfeasible():
                self.infeasible += 1
            case EpochEnded():
                self.trials[record.trial].history.append(record.record)
                self.epochs_total += 1
            case Told():
                self._told(record)
            case Confirmed():
                self.trials[record.trial].confirmations.append(record)
            case LookedAtOfficialTest():
                self.official.append(record)

    def ranking(self) -> list[Trial]:
        """Return the completed trials, best first; confirmed ones before the others, by their
        means. Of equals the earlier trial comes first."""
        sign = -1.0 if self.objective.direction == "max" else 1.0

        def order(trial: Trial) -> tuple[bool, float, int]:
            confirmed = trial.confirmed_score
            assert trial.score is not None  # completed trials have one
            score = confirmed[0] if confirmed is not None else trial.score
            return confirmed is None, sign * score, trial.number

        completed = (t for t in self.trials.values() if t.status is TrialStatus.COMPLETED)
        return sorted(completed, key=order)

    @property
    def best(self) -> Trial | None:
        """The winner so far."""
        ranking = self.ranking()
        return ranking[0] if ranking else None

    def _asked(self, record: Asked) -> None:
        self.asks.append(record)
        self.open_asks[record.ask] = record
        trial = self.trials.get(record.trial)
        if trial is None:
            trial = self.trials[record.trial] = Trial(record.trial, record.overrides)
        trial.status = TrialStatus.RUNNING
        trial.rung, trial.last_epoch = record.rung, record.last_epoch

    def _told(self, record: Told) -> None:
        del self.open_asks[record.ask]
        trial = self.trials[record.trial]
        trial.status, trial.reason = record.status, record.reason
        if record.status is TrialStatus.COMPLETED:
            trial.result, trial.score = record.result, record.score
        else:
            self.failed_trials.add(record.trial)
        self.ended_trials.add(record.trial)
        trial.seconds += record.seconds
        self.rung_seconds += record.seconds
