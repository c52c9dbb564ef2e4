"""The sweep itself: ask the tuner, run the rung, write the journal, tell the tuner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import SweepStopped
from fmnist_sweep.executors.protocol import Executor, OnEpoch, Rung, RungOutcome
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.journal.failed_attempt import check_failures
from fmnist_sweep.journal.file import Journal
from fmnist_sweep.journal.records import (
    Asked,
    EpochEnded,
    FoundInfeasible,
    Record,
    RunsIn,
    Stopped,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.state import SweepState, Trial
from fmnist_sweep.space.overrides import apply_overrides, flatten
from fmnist_sweep.space.space import Space
from fmnist_sweep.sweep.budget import (
    why_no_new_trial,
    why_not_affordable,
    why_spent,
)
from fmnist_sweep.sweep.stopping import StopRequests
from fmnist_sweep.sweep.trial_folders import TrialFolders
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.tuners import Exhausted, SearchOracle, Waiting

Observer = Callable[[Record, SweepState], None]


class SweepLoop:
    """A sweep between its start, or its resume, and the end of its budget.

    Args:
        config: the whole config.
        space: what is searched.
        epochs_of: the epochs of a full training of a config.
        journal: what happened so far.
        state: the same, folded.
        executor: runs the rungs.
        folders: of the trials.
        stops: which trials somebody wants stopped.
        observer: hears of every record once it is on disk.
        why_infeasible: says of a point why it cannot be tried, or None.
        environment: where this process trains.
    """

    def __init__(
        self,
        config: Config,
        space: Space,
        epochs_of: Callable[[RunConfig], int],
        journal: Journal,
        state: SweepState,
        executor: Executor,
        folders: TrialFolders,
        stops: StopRequests,
        observer: Observer,
        why_infeasible: Callable[[Mapping[str, Any]], str | None],
        environment: Environment,
    ) -> None:
        self._environment = environment
        self._config = config
        self._base = config.run
        self._space = space
        self._epochs_of = epochs_of
        self._journal = journal
        self._state = state
        self._executor = executor
        self._folders = folders
        self._stops = stops
        self._observer = observer
        # Trials between two rungs, and the oracle's id of the latest: their files are kept.
        self._between: dict[int, str | None] = {}
        self._why_infeasible = why_infeasible
        self._oracle = self._fed_oracle()
        self._proposed_in_vain = False
        self._look_between()

    def record(self, record: Record) -> None:
        """Put a record on disk, then let it count."""
        self._journal.append(record)
        self._state.apply(record)
        self._observer(record, self._state)
        stop_if_asked()

    def say_where(self) -> None:
        """Record where this process trains, unless it was the last to do so; before it trains."""
        if not self._state.runs_in(self._environment):
            self.record(RunsIn(self._environment, at=time.time()))

    def run(self) -> str:
        """Go on until the budget is used up or the tuner has nothing more; return which.

        Raises:
            SweepStopped: too many trials failed.
        """
        running: dict[Future[RungOutcome], Asked] = {}
        for left_open in list(self._state.open_asks.values()):
            running[self._submit(left_open)] = left_open
        while True:
            reason: str | None = None
            while reason is None and len(running) < self._executor.workers:
                self._stop_past_failure_rate()
                spent = why_spent(self._config, self._state, self._executor.workers)
                asked = spent or self._next_rung()
                if isinstance(asked, Waiting):
                    break
                if isinstance(asked, str):
                    reason = asked
                else:
                    self.say_where()
                    self.record(asked)
                    running[self._submit(asked)] = asked
            if not running:
                assert reason is not None  # an oracle waits only for what is running
                return self._exhausted if self._is_used_up() else reason
            # What runs may end early, or be promoted: then there may be something to do again.
            done = self._executor.wait(running)
            for future in sorted(done, key=lambda future: running[future].ask):
                self._tell(running.pop(future), future.result())

    def _next_rung(self) -> Asked | Waiting | str:
        """Return what to run next, or why nothing more is run."""
        number = len(self._state.asks)
        if number < len(self._config.sweep.start_with):
            overrides = flatten(self._config.sweep.start_with[number])
            return self._affordable(self._first_rung(overrides, last_epoch=None))
        if self._config.tuner.name != "hyperband":
            # Spares a surrogate's fit; Hyperband may have a promotion, which is no new trial.
            reached = why_no_new_trial(self._config, self._state)
            if reached is not None:
                return reached
        answer = self._oracle.ask(number)
        if isinstance(answer, Waiting):
            return answer
        if isinstance(answer, Exhausted):
            return self._exhausted
        overrides = self._space.overrides(answer.point)
        if answer.promoted_from is None:
            asked = self._first_rung(overrides, answer.last_epoch)
        else:
            parent = self._state.asked_by_oracle[answer.promoted_from]
            assert answer.last_epoch is not None  # only Hyperband promotes
            asked = replace(
                parent,
                ask=number,
                rung=parent.rung + 1,
                first_epoch=answer.first_epoch,
                last_epoch=answer.last_epoch,
            )
        affordable = self._affordable(
            replace(asked, oracle_id=answer.oracle_id, values=answer.values, at=time.time())
        )
        self._proposed_in_vain = isinstance(affordable, str)
        return affordable

    @property
    def _exhausted(self) -> str:
        return f"tuner {self._config.tuner.name} has nothing more to propose"

    def _is_used_up(self) -> bool:
        """Whether a larger budget would change nothing, although it was a budget that ended the
        sweep: each point of the space has been tried. A point that no budget allowed has not."""
        started = len(self._state.asks) >= len(self._config.sweep.start_with)
        return started and not self._proposed_in_vain and self._oracle.is_used_up

    def _first_rung(self, overrides: dict[str, Any], last_epoch: int | None) -> Asked:
        """Return a new trial's first rung; `last_epoch` None: the whole training."""
        if last_epoch is None:
            last_epoch = self._epochs_of(apply_overrides(self._base, overrides))
        return Asked(
            ask=len(self._state.asks),
            trial=len(self._state.trials),
            rung=0,
            first_epoch=0,
            last_epoch=last_epoch,
            oracle_id=None,
            values=None,
            overrides=overrides,
            at=time.time(),
        )

    def _affordable(self, asked: Asked) -> Asked | str:
        return why_not_affordable(self._config, self._state, asked) or asked

    def _submit(self, asked: Asked) -> Future[RungOutcome]:
        trial = self._state.trials[asked.trial]
        self._between.pop(asked.trial, None)
        if trial.result is not None:
            self._stop_if_asked(trial)
        known = _known_outcome(trial)
        if known is not None:
            outcome: Future[RungOutcome] = Future()
            outcome.set_result(known)
            return outcome
        self.say_where()
        last_epoch = asked.last_epoch if trial.stopped_at is None else trial.stopped_at
        rung = Rung(
            config=apply_overrides(self._base, asked.overrides),
            first_epoch=min(asked.first_epoch, last_epoch),
            last_epoch=last_epoch,
            folder=self._folders.of(asked.trial),
            trial=asked.trial,
        )
        return self._executor.submit(rung, self._epoch_recorder(asked.trial))

    def _epoch_recorder(self, number: int) -> OnEpoch:
        trial = self._state.trials[number]

        def record_epoch(record: EpochRecord) -> bool:
            # After a kill epochs are reported again; the journal has each once.
            if record.epoch > len(trial.history):
                self.record(
                    EpochEnded(
                        number, record.epoch, record.metrics, record.ended_at, record.step_loss
                    )
                )
                self._stop_if_asked(trial)
            return record.epoch == trial.stopped_at

        return record_epoch

    def _stop_if_asked(self, trial: Trial) -> None:
        if not trial.is_over and trial.number in self._stops:
            self.record(Stopped(trial.number, len(trial.history), at=time.time()))
            self._stops.done(trial.number)

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
        if self._proposed_in_vain:
            # The oracle counts on a rung that the journal does not have, so neither would a resume.
            self._oracle, self._proposed_in_vain = self._fed_oracle(), False
        elif asked.oracle_id is not None:
            self._oracle.tell(asked.oracle_id, score)
        self._between[asked.trial] = asked.oracle_id
        self._settle()

    def _settle(self) -> None:
        """Let go of the files of trials that no rung will go on with."""
        for number, oracle_id in list(self._between.items()):
            if oracle_id is None or not self._oracle.may_promote(oracle_id):
                self._folders.settle(number, self._state.trials[number].standing_score)
                del self._between[number]

    def _stop_past_failure_rate(self) -> None:
        reason = check_failures(self._config, self._state)
        if reason is not None:
            raise SweepStopped(reason)

    def _found_infeasible(self, values: dict[str, Any], reason: str) -> None:
        self.record(FoundInfeasible(values, reason, at=time.time()))

    def _fed_oracle(self) -> SearchOracle:
        """Return an oracle that stands where the journal ends."""
        oracle = SearchOracle(
            self._config.tuner,
            self._space,
            self._config.sweep.objective,
            self._epochs_of(self._base),
            self._why_infeasible,
            self._found_infeasible,
        )
        oracle.replay(self._journal.records)
        return oracle

    def _look_between(self) -> None:
        """Find the trials whose latest rung has ended."""
        for record in self._journal.records:
            if isinstance(record, Asked):
                self._between.pop(record.trial, None)
            elif isinstance(record, Told):
                self._between[record.trial] = self._state.asks[record.ask].oracle_id
        self._settle()


def _known_outcome(trial: Trial) -> RungOutcome | None:
    """What comes of a rung that is not trained: Hyperband promotes what has failed, which it counts
    as completed with the worst score, and what was stopped."""
    if trial.reason is not None:
        return RungOutcome(None, trial.reason, 0.0)
    if trial.result is not None and trial.result.last_epoch == trial.stopped_at:
        return RungOutcome(trial.result, None, 0.0)
    return None
