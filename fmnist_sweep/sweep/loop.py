"""The sweep itself: ask the tuner, run the rung, write the journal, tell the tuner."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.errors import SweepStopped
from fmnist_sweep.executors.protocol import Executor, OnEpoch, Rung, RungOutcome
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.journal.failed_attempt import check_failures
from fmnist_sweep.journal.file import Journal
from fmnist_sweep.journal.records import (
    Asked,
    Continued,
    EpochEnded,
    FoundInfeasible,
    Paused,
    Record,
    RunsIn,
    Stopped,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.sweep.budget import (
    is_out_of_time,
    why_no_new_trial,
    why_not_affordable,
    why_spent,
)
from fmnist_sweep.sweep.plan import SweepPlan
from fmnist_sweep.sweep.rungs import (
    first_rung,
    known_outcome,
    promotion,
    trained_elsewhere,
    with_all_scores,
)
from fmnist_sweep.sweep.stopping import StopRequests
from fmnist_sweep.sweep.trial_folders import TrialFolders
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.tuners.protocol import Exhausted, Waiting
from fmnist_sweep.tuners.search import NothingToPromote, Suggestion

Observer = Callable[[Record, SweepState], None]


class SweepLoop:
    """A sweep between its start, or its resume, and the end of its budget.

    Args:
        plan: what is searched, and how.
        journal: what happened so far.
        state: the same, folded.
        executor: runs the rungs.
        folders: of the trials.
        stops: which trials a user wants stopped.
        observer: called with every record once it is on disk.
        environment: where this process trains.
    """

    def __init__(
        self,
        plan: SweepPlan,
        journal: Journal,
        state: SweepState,
        executor: Executor,
        folders: TrialFolders,
        stops: StopRequests,
        observer: Observer,
        environment: Environment,
    ) -> None:
        self._plan = plan
        self._config = plan.config
        self._base = plan.config.run
        self._journal = journal
        self._state = state
        self._executor = executor
        self._folders = folders
        self._stops = stops
        self._observer = observer
        self._environment = environment
        # Trials between two rungs, whose files are kept.
        self._between: set[int] = set()
        # Asks whose rung the time budget ends early.
        self._cut: set[int] = set()
        self._scheduler = plan.open_scheduler(self._found_infeasible)
        for record in journal.records:
            self._scheduler.apply(record)
            self._follow(record)
        self._settle()

    def record(self, record: Record) -> None:
        """Put a record on disk, then let it count."""
        self._journal.append(record)
        self._state.apply(record)
        self._scheduler.apply(record)
        self._follow(record)
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
        self._end_what_a_kill_left()
        running: dict[Future[RungOutcome], Asked] = {}
        for left_open in self._goes_on_with():
            running[self._submit(left_open)] = left_open
        while True:
            reason: str | None = None
            while reason is None and len(running) < self._executor.workers:
                self._stop_past_failure_rate()
                spent = why_spent(self._config, self._state)
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

    def _goes_on_with(self) -> list[Asked]:
        """Return the open asks, but without the paused ones if there is no more time."""
        if is_out_of_time(self._config, self._state):
            return self._state.running_asks
        asks = list(self._state.open_asks.values())
        for asked in asks:
            if self._state.trials[asked.trial].is_paused:
                self.say_where()
                self.record(Continued(asked.ask, asked.trial, at=time.time()))
        return asks

    def _next_rung(self) -> Asked | Waiting | str:
        """Return what to run next, or why nothing more is run."""
        number = len(self._state.asks)
        if number < len(self._plan.start_with):
            overrides = dict(self._plan.start_with[number])
            last_epoch = self._scheduler.start_with_epochs
            start = Suggestion(None, None, last_epoch=last_epoch)
            return self._affordable(self._first_rung(start, overrides))
        reached = why_no_new_trial(self._config, self._state)
        answer = self._scheduler.ask(number, new_trials=reached is None)
        match answer:
            case Waiting():
                return answer
            case Exhausted():
                return self._exhausted
            case NothingToPromote():
                assert reached is not None
                return reached
        if answer.trial is not None:
            return self._affordable(promotion(self._state, answer))
        assert answer.point is not None  # a new trial's
        return self._affordable(self._first_rung(answer, self._plan.space.overrides(answer.point)))

    def _first_rung(self, answer: Suggestion, overrides: dict[str, Any]) -> Asked:
        full = self._plan.epochs_of(apply_overrides(self._base, overrides))
        return first_rung(self._state, answer, overrides, full)

    @property
    def _exhausted(self) -> str:
        return f"{self._scheduler.name} has nothing more to propose"

    def _is_used_up(self) -> bool:
        """Whether a larger budget would change nothing, although it was a budget that ended the
        sweep: each point of the space has been tried. A point that no budget allowed has not."""
        started = len(self._state.asks) >= len(self._plan.start_with)
        return started and not self._state.open_asks and self._scheduler.is_used_up

    def _affordable(self, asked: Asked) -> Asked | str:
        return why_not_affordable(self._config, self._state, asked) or asked

    def _submit(self, asked: Asked) -> Future[RungOutcome]:
        trial = self._state.trials[asked.trial]
        if trial.result is not None:
            self._stop_if_asked(trial)
        known = known_outcome(trial)
        if known is not None:
            outcome: Future[RungOutcome] = Future()
            outcome.set_result(known)
            return outcome
        self.say_where()
        last_epoch = asked.last_epoch if trial.stopped_at is None else trial.stopped_at
        reached = max(len(trial.history), asked.first_epoch + 1)
        if reached < last_epoch and is_out_of_time(self._config, self._state):
            # It was killed while it was being ended. What it has is measured.
            last_epoch = reached
            self._cut.add(asked.ask)
        rung = Rung(
            config=apply_overrides(self._base, asked.overrides),
            first_epoch=min(asked.first_epoch, last_epoch),
            last_epoch=last_epoch,
            folder=self._folders.of(asked.trial),
            trial=asked.trial,
            costs=self._config.sweep.measured_costs,
        )
        return self._executor.submit(rung, self._epoch_recorder(asked))

    def _epoch_recorder(self, asked: Asked) -> OnEpoch:
        number = asked.trial
        trial = self._state.trials[number]

        def record_epoch(record: EpochRecord) -> bool:
            # After a kill epochs are reported again; the journal has each once.
            if record.epoch > len(trial.history):
                self.record(EpochEnded.of(number, record, self._place_of(record)))
                self._stop_if_asked(trial)
                self._stop_if_scheduled(trial)
                is_last = trial.is_over or record.epoch >= asked.last_epoch
                if not is_last and is_out_of_time(self._config, self._state):
                    self._cut.add(asked.ask)
                    return True
            return record.epoch == trial.stopped_at

        return record_epoch

    def _place_of(self, record: EpochRecord) -> int | None:
        """Return the number of the place where workers trained an epoch, which is recorded if it is
        new; None: this process."""
        elsewhere = trained_elsewhere(record, self._environment)
        if elsewhere is None:
            return None
        number = self._state.places.number_of(*elsewhere)
        if number is None:
            number = len(self._state.places)
            self.record(RunsIn(elsewhere[0], at=time.time(), host=elsewhere[1]))
        return number

    def _stop_if_asked(self, trial: Trial) -> None:
        if not trial.is_over and trial.number in self._stops:
            self.record(Stopped(trial.number, len(trial.history), at=time.time()))
            self._stops.done(trial.number)

    def _stop_if_scheduled(self, trial: Trial) -> None:
        if not trial.is_over and self._scheduler.ends_now(trial.number):
            by = f"scheduler {self._config.scheduler.name}"
            self.record(Stopped(trial.number, len(trial.history), at=time.time(), by=by))

    def _end_what_a_kill_left(self) -> None:
        """Stop a trial whose scheduler would have, had the sweep not been killed between the two
        records. After any other record, the scheduler has decided already."""
        records = self._journal.records
        if records and isinstance(last := records[-1], EpochEnded):
            self._stop_if_scheduled(self._state.trials[last.trial])

    def _tell(self, asked: Asked, outcome: RungOutcome) -> None:
        outcome = with_all_scores(outcome, self._config.sweep)
        result, metric = outcome.result, self._config.sweep.objective.metric
        score = None if result is None else result.best_metrics[metric]
        is_over = self._state.trials[asked.trial].is_over
        if asked.ask in self._cut and not is_over and result is not None and score is not None:
            at = time.time()
            self.record(Paused(asked.ask, asked.trial, score, result, outcome.seconds, at))
            return
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
        self._settle()

    def _settle(self) -> None:
        """Let go of the files of trials that no rung will go on with."""
        for number in sorted(self._between):
            if not self._scheduler.may_go_on(number):
                self._folders.settle(number, self._state.trials[number].standing_scores)
                self._between.remove(number)

    def _follow(self, record: Record) -> None:
        """Find the trials whose latest rung has ended."""
        if isinstance(record, Asked):
            self._between.discard(record.trial)
        elif isinstance(record, Told):
            self._between.add(record.trial)

    def _stop_past_failure_rate(self) -> None:
        reason = check_failures(self._config, self._state)
        if reason is not None:
            raise SweepStopped(reason)

    def _found_infeasible(self, values: dict[str, Any], reason: str) -> None:
        self.record(FoundInfeasible(values, reason, at=time.time()))
