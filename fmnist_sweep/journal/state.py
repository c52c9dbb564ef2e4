"""The state of a sweep: a fold over its journal's records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fmnist_sweep.config.objective_schema import AnyObjective, Bound
from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.errors import JournalError
from fmnist_sweep.journal.file import Journal
from fmnist_sweep.journal.places import Places
from fmnist_sweep.journal.records import (
    Asked,
    Begun,
    Bounded,
    Confirmed,
    Continued,
    Ended,
    EpochEnded,
    FoundInfeasible,
    Learnt,
    LookedAtOfficialTest,
    Paused,
    Record,
    Refitted,
    RunsIn,
    Stopped,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.scores import (
    bounds_of,
    costs_of,
    front_of,
    further_objectives_of,
    is_within,
    scores_of,
)
from fmnist_sweep.journal.trial import Trial


@dataclass
class SweepState:
    """Trials by number, and what else the journal told. `workers` is no matter of the journal: it
    is how many rungs the sweep's executor trains at a time. `bounds`: those within which the winner
    of several objectives is chosen."""

    objective: Objective
    workers: int = field(default=1, compare=False)
    begun: Begun | None = None
    learnt: Learnt | None = None
    places: Places = field(default_factory=Places)
    trials: dict[int, Trial] = field(default_factory=dict)
    asks: list[Asked] = field(default_factory=list)
    open_asks: dict[int, Asked] = field(default_factory=dict)
    infeasible: int = 0
    official: list[LookedAtOfficialTest] = field(default_factory=list)
    ended: Ended | None = None
    ends: int = 0
    epochs_total: int = 0
    rung_seconds: float = 0.0
    paused_after: dict[int, int] = field(default_factory=dict)
    ended_trials: set[int] = field(default_factory=set)
    failed_trials: set[int] = field(default_factory=set)
    further_objectives: tuple[AnyObjective, ...] = ()
    bounds: dict[str, Bound] = field(default_factory=dict)
    _front: frozenset[int] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def after(cls, journal: Journal, objective: Objective) -> SweepState:
        """Return the state after a journal's records.

        Raises:
            JournalError: a record does not fit those before it.
        """
        state = cls(objective)
        for _ in state.taking_in(journal):
            pass
        return state

    def taking_in(self, journal: Journal) -> Iterator[Record]:
        """Apply a journal's records, yielding each afterwards.

        Raises:
            JournalError: a record does not fit those before it; names file and line.
        """
        for line, record in enumerate(journal.records, start=1):
            try:
                self.apply(record)
            except (ValueError, TypeError) as error:
                raise JournalError(f"{journal.path}, line {line}: {error}") from error
            yield record

    def apply(self, record: Record) -> None:
        """Apply one record. Any record after an end continues the sweep.

        Raises:
            ValueError: the record does not fit those before it.
        """
        match record:
            case Begun():
                self._begun(record)
            case Learnt():
                self.learnt = record
            case RunsIn():
                self.places.add(record)
            case Asked():
                self._asked(record)
            case FoundInfeasible():
                self.infeasible += 1
            case EpochEnded():
                self._epoch_ended(record)
            case Stopped():
                self._stopped(record)
            case Told():
                self._told(record)
            case Paused():
                self._paused(record)
            case Continued():
                self._continued(record)
            case Bounded():
                self.bounds = bounds_of(record, self.further_objectives)
            case Confirmed():
                self._trial(record.trial).confirmations.append(record)
            case Refitted():
                self._refitted(record)
            case LookedAtOfficialTest():
                self._trial(record.trial)
                self.official.append(record)
            case Ended():
                self.ends += 1
        self.ended = record if isinstance(record, Ended) else None
        if not isinstance(record, EpochEnded):
            self._front = None

    def ranking(self) -> list[Trial]:
        """Return the completed trials, best first; confirmed ones, by their means, before the
        others. Of equals the earlier trial comes first.

        With several objectives the Pareto front comes first, on it those within the bounds; of
        equals in the first objective the better one in the next.
        """
        return sorted(self._completed(), key=self._order)

    def to_confirm(self, most: int) -> list[Trial]:
        """Return the best trials by the search's own scores, whatever was confirmed so far; with
        several objectives those of the Pareto front alone, since the winner is one of them."""
        there = (t for t in self._completed() if not self.front or t.number in self.front)
        return sorted(there, key=lambda trial: self._order(trial, as_searched=True))[:most]

    @property
    def objectives(self) -> tuple[AnyObjective, ...]:
        """All objectives, `objective` first."""
        return (self.objective, *self.further_objectives)

    @property
    def front(self) -> frozenset[int]:
        """The trials on the Pareto front of several objectives, by the search's own scores; with
        one objective none."""
        if self._front is None:
            scores = {trial.number: trial.scores for trial in self._completed()}
            self._front = front_of(scores, self.objectives)
        return self._front

    def is_within_bounds(self, trial: Trial) -> bool:
        """Whether a completed trial may be chosen as the winner."""
        return is_within(trial.scores, self.objectives, self.bounds)

    def minutes(self, since_seconds: float = 0.0) -> float:
        """Return for how many minutes each worker has trained, which `sweep.max_minutes` bounds;
        `since_seconds` are those of epochs that have not ended, all of them together."""
        trained = sum(map(self._trained_seconds, self.open_asks.values()))
        return (self.rung_seconds + trained + since_seconds) / 60 / self.workers

    @property
    def running_asks(self) -> list[Asked]:
        """The open asks but for those of paused trials."""
        return [a for a in self.open_asks.values() if not self.trials[a.trial].is_paused]

    def runs_in(self, environment: Environment) -> bool:
        """Whether the sweep last ran in this environment, regardless of the command."""
        here = self.places.here
        return here is not None and here.is_same_place(environment)

    @property
    def environments(self) -> list[Environment]:
        """The environments of the sweep's owner and workers, in the order of their records."""
        return self.places.environments

    def environments_of(self, trial: Trial) -> list[Environment]:
        """Return the environments in which a trial's model was trained, in order."""
        if trial.refit is not None:
            return self.environments[trial.refit_since :]
        return [self.environments[place] for place in sorted(trial.environments)]

    @property
    def best(self) -> Trial | None:
        """The winner so far."""
        return min(self._completed(), key=self._order, default=None)

    def _completed(self) -> Iterator[Trial]:
        return (t for t in self.trials.values() if t.status is TrialStatus.COMPLETED)

    def _order(
        self, trial: Trial, *, as_searched: bool = False
    ) -> tuple[bool, bool, bool, tuple[float, ...], int]:
        confirmed, costs = None if as_searched else trial.confirmed_score, trial.costs
        if confirmed is not None:
            costs = (-self.objective.sign * confirmed[0], *costs[1:])
        is_beaten = bool(self.further_objectives) and trial.number not in self.front
        is_outside = bool(self.bounds) and not self.is_within_bounds(trial)
        return is_beaten, is_outside, confirmed is None, costs, trial.number

    def _begun(self, record: Begun) -> None:
        if self.begun is not None:
            raise ValueError("the sweep has already begun")
        self.begun = record
        if "objectives" in record.identity:
            self.further_objectives = further_objectives_of(record.identity)

    def _asked(self, record: Asked) -> None:
        if record.ask != len(self.asks) or record.trial > len(self.trials):
            raise ValueError(f"ask {record.ask} of trial {record.trial} is out of order")
        self.asks.append(record)
        self.open_asks[record.ask] = record
        trial = self.trials.get(record.trial)
        if trial is None:
            trial = self.trials[record.trial] = Trial(record.trial, record.overrides)
        trial.status = TrialStatus.RUNNING
        trial.rung, trial.last_epoch = record.rung, record.last_epoch

    def _epoch_ended(self, record: EpochEnded) -> None:
        trial = self._trial(record.trial)
        if record.epoch != len(trial.history) + 1:
            raise ValueError(f"epoch {record.epoch} of trial {record.trial} is out of order")
        trained_in = self.places.environment_at(record.place)
        trial.history.append(record.record)
        if trained_in is not None:
            trial.environments.add(trained_in)
        self.epochs_total += 1

    def _stopped(self, record: Stopped) -> None:
        trial = self._trial(record.trial)
        if trial.stopped_at is not None or record.epoch != len(trial.history):
            raise ValueError(f"trial {record.trial} is stopped after epoch {record.epoch}")
        trial.stopped_at, trial.stopped_by = record.epoch, record.by

    def _told(self, record: Told) -> None:
        self._check_open(record)
        is_result = record.result is not None and record.score is not None
        if is_result != (record.status is TrialStatus.COMPLETED):
            raise ValueError(f"a result for ask {record.ask}: status and result are inconsistent")
        self._charge(record)
        del self.open_asks[record.ask]
        self.paused_after.pop(record.ask, None)
        trial = self._trial(record.trial)
        trial.status, trial.reason = record.status, record.reason
        if record.status is TrialStatus.COMPLETED:
            self._scored(trial, record)
            if trial.stopped_at is not None:
                trial.last_epoch = trial.stopped_at
        else:
            self.failed_trials.add(record.trial)
        self.ended_trials.add(record.trial)

    def _paused(self, record: Paused) -> None:
        self._check_open(record)
        trial = self.trials[record.trial]
        if trial.is_paused or trial.is_over:
            raise ValueError(f"trial {record.trial} cannot be paused")
        self._charge(record)
        trial.is_paused, trial.status = True, record.status
        self._scored(trial, record)
        trial.last_epoch = self.paused_after[record.ask] = len(trial.history)

    def _scored(self, trial: Trial, record: Told | Paused) -> None:
        trial.result, trial.score = record.result, record.score
        trial.scores = scores_of(record, self.objectives)
        trial.costs = costs_of(trial.scores, self.objectives)

    def _continued(self, record: Continued) -> None:
        self._check_open(record)
        trial = self.trials[record.trial]
        if not trial.is_paused:
            raise ValueError(f"trial {record.trial} goes on, but was not paused")
        trial.is_paused, trial.status = False, TrialStatus.RUNNING
        trial.last_epoch = self.open_asks[record.ask].last_epoch

    def _check_open(self, record: Told | Paused | Continued) -> None:
        if record.ask not in self.open_asks:
            raise ValueError(f"a result for ask {record.ask}, which is not open")
        if record.trial != self.open_asks[record.ask].trial:
            raise ValueError(f"a result for ask {record.ask} with another trial, {record.trial}")

    def _refitted(self, record: Refitted) -> None:
        trial = self._trial(record.trial)
        trial.refit = record.result
        # An earlier process may have trained a part of it, but not before the trial itself.
        trial.refit_since = max(trial.environments, default=0)

    def _charge(self, record: Told | Paused) -> None:
        # `seconds` are of the process that ended the rung, or paused it; an earlier one may have
        # been killed in it.
        trained = self._trained_seconds(self.open_asks[record.ask])
        self.rung_seconds += max(record.seconds, trained)

    def _trained_seconds(self, asked: Asked) -> float:
        # Since it was paused last, which was charged then.
        since = self.paused_after.get(asked.ask, asked.first_epoch)
        history = self.trials[asked.trial].history[since:]
        return sum(epoch.metrics.get("epoch_seconds", 0.0) for epoch in history)

    def _trial(self, number: int) -> Trial:
        if number not in self.trials:
            raise ValueError(f"trial {number}, which was never asked for")
        return self.trials[number]
