"""The sweep itself: ask the tuner, run the rung, write the journal, tell the tuner."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import JournalError, SweepStopped
from fmnist_sweep.files import canonical_json
from fmnist_sweep.search.budget import check_failures, why_not_affordable, why_spent
from fmnist_sweep.search.executor import Executor, OnEpoch, Rung, RungOutcome
from fmnist_sweep.search.journal import Journal
from fmnist_sweep.search.oracle import Exhausted, SearchOracle, Waiting
from fmnist_sweep.search.records import (
    Asked,
    EpochEnded,
    FoundInfeasible,
    Record,
    Told,
    TrialStatus,
)
from fmnist_sweep.search.state import SweepState
from fmnist_sweep.space.overrides import apply_overrides, flatten
from fmnist_sweep.space.space import Space
from fmnist_sweep.training.results import EpochRecord

Observer = Callable[[Record, SweepState], None]


class SweepLoop:
    """A sweep between its start, or its resume, and the end of its budget.

    Args:
        config: the whole config.
        space: what is searched.
        epochs: the epochs of a full training.
        journal: what happened so far.
        state: the same, folded.
        executor: runs the rungs.
        folder: of the sweep; each trial's own is `trials/<number>` in it.
        observer: hears of every record once it is on disk.
        why_infeasible: says of a point why it cannot be tried, or None.
    """

    def __init__(
        self,
        config: Config,
        space: Space,
        epochs: int,
        journal: Journal,
        state: SweepState,
        executor: Executor,
        folder: Path,
        observer: Observer,
        why_infeasible: Callable[[Mapping[str, Any]], str | None],
    ) -> None:
        self._config = config
        self._base = config.run
        self._space = space
        self._epochs = epochs
        self._journal = journal
        self._state = state
        self._executor = executor
        self._folder = folder
        self._observer = observer
        self._known_infeasible = {
            canonical_json(r.values) for r in journal.records if isinstance(r, FoundInfeasible)
        }
        self._oracle = SearchOracle(
            config.tuner,
            space,
            config.sweep.objective,
            epochs,
            why_infeasible,
            self._found_infeasible,
        )
        self._replay()

    def record(self, record: Record) -> None:
        """Put a record on disk, then let it count."""
        self._journal.append(record)
        self._state.apply(record)
        self._observer(record, self._state)

    def run(self) -> str:
        """Go on until the budget is used up or the tuner has nothing more; return which.

        Raises:
            SweepStopped: too many trials failed.
        """
        running: dict[Future[RungOutcome], Asked] = {}
        for asked in list(self._state.open_asks.values()):
            running[self._submit(asked)] = asked
        reason: str | None = None
        while True:
            while reason is None and len(running) < self._executor.workers:
                reason = why_spent(self._config, self._state) or self._too_many_failures()
                asked_or_reason = self._next_rung() if reason is None else reason
                if isinstance(asked_or_reason, Waiting):
                    break
                if isinstance(asked_or_reason, str):
                    reason = asked_or_reason
                else:
                    self.record(asked_or_reason)
                    running[self._submit(asked_or_reason)] = asked_or_reason
            if not running:
                assert reason is not None  # an oracle waits only for what is running
                return reason
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                self._tell(running.pop(future), future.result())

    def trial_folder(self, number: int) -> Path:
        """Where a trial's checkpoints are."""
        return self._folder / "trials" / f"{number:04d}"

    def _next_rung(self) -> Asked | Waiting | str:
        """Return what to run next, or why nothing more is run."""
        started = sum(asked.oracle_id is None for asked in self._state.asks)
        if started < len(self._config.sweep.start_with):
            return self._started_with(flatten(self._config.sweep.start_with[started]))
        number = len(self._state.asks)
        answer = self._oracle.ask(number)
        if isinstance(answer, Waiting):
            return answer
        if isinstance(answer, Exhausted):
            return f"tuner {self._config.tuner.name} has nothing more to propose"
        trial, rung = self._place_of(answer.promoted_from)
        unaffordable = why_not_affordable(
            self._config,
            self._state,
            is_new_trial=answer.promoted_from is None,
            epochs=answer.last_epoch - answer.first_epoch,
        )
        if unaffordable is not None:
            return unaffordable
        return Asked(
            ask=number,
            trial=trial,
            rung=rung,
            first_epoch=answer.first_epoch,
            last_epoch=answer.last_epoch,
            oracle_id=answer.oracle_id,
            values=answer.values,
            overrides=self._space.overrides(answer.point),
            at=time.time(),
        )

    def _started_with(self, overrides: dict[str, Any]) -> Asked | str:
        unaffordable = why_not_affordable(
            self._config, self._state, is_new_trial=True, epochs=self._epochs
        )
        return unaffordable or Asked(
            ask=len(self._state.asks),
            trial=len(self._state.trials),
            rung=0,
            first_epoch=0,
            last_epoch=self._epochs,
            oracle_id=None,
            values=None,
            overrides=overrides,
            at=time.time(),
        )

    def _place_of(self, promoted_from: str | None) -> tuple[int, int]:
        """Return (trial, rung): a promotion is a further rung of the trial that it continues."""
        if promoted_from is None:
            return len(self._state.trials), 0
        for asked in reversed(self._state.asks):
            if asked.oracle_id == promoted_from:
                return asked.trial, asked.rung + 1
        raise SweepStopped(f"the tuner promotes {promoted_from}, which the journal does not know")

    def _submit(self, asked: Asked) -> Future[RungOutcome]:
        trial = self._state.trials[asked.trial]
        if trial.reason is not None:
            # Promoted all the same, since Hyperband counts it as completed with the worst score.
            outcome: Future[RungOutcome] = Future()
            outcome.set_result(RungOutcome(None, trial.reason, 0.0))
            return outcome
        rung = Rung(
            config=apply_overrides(self._base, asked.overrides),
            last_epoch=asked.last_epoch,
            folder=self.trial_folder(asked.trial),
        )
        return self._executor.submit(rung, self._epoch_recorder(asked.trial))

    def _epoch_recorder(self, number: int) -> OnEpoch:
        trial = self._state.trials[number]

        def record_epoch(record: EpochRecord) -> None:
            # After a kill epochs are reported again; the journal has each once.
            if record.epoch > len(trial.history):
                self.record(EpochEnded(number, record.epoch, record.metrics, record.ended_at))

        return record_epoch

    def _tell(self, asked: Asked, outcome: RungOutcome) -> None:
        result = outcome.result
        score = None
        if result is not None:
            score = result.best_metrics[self._config.sweep.objective.metric]
        self.record(
            Told(
                ask=asked.ask,
                trial=asked.trial,
                status=TrialStatus.FAILED if result is None else TrialStatus.COMPLETED,
                score=score,
                result=result,
                reason=outcome.reason,
                seconds=outcome.seconds,
                at=time.time(),
            )
        )
        if asked.oracle_id is not None:
            self._oracle.tell(asked.oracle_id, score)

    def _too_many_failures(self) -> str | None:
        reason = check_failures(self._config, self._state)
        if reason is not None:
            raise SweepStopped(reason)
        return None

    def _found_infeasible(self, values: dict[str, Any], reason: str) -> None:
        key = canonical_json(values)
        if key not in self._known_infeasible:
            self._known_infeasible.add(key)
            self.record(FoundInfeasible(values, reason, at=time.time()))

    def _replay(self) -> None:
        """Bring the fresh oracle to where the journal ends."""
        asked: dict[int, Asked] = {}
        for line, record in enumerate(self._journal.records, start=1):
            match record:
                case FoundInfeasible():
                    self._oracle.replay_infeasible(record.values)
                case Asked(oracle_id=str() as oracle_id, values=dict() as values):
                    self._oracle.replay_ask(record.ask, oracle_id, values)
                    asked[record.ask] = record
                case Told() if record.ask in asked:
                    self._oracle.tell(str(asked[record.ask].oracle_id), record.score)
                case Told() if all(a.ask != record.ask for a in self._state.asks):
                    raise JournalError(
                        f"{self._journal.path}, line {line}: a rung that nobody asked for"
                    )


def promotions(state: SweepState) -> Iterator[Asked]:
    """Yield the rungs that took a trial further."""
    return (asked for asked in state.asks if asked.rung > 0)
