"""A sweep put together from its parts: plan, journal, tracker, executor, loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from fmnist_sweep.executors.opening import open_executor
from fmnist_sweep.executors.protocol import Executor, OnRungStep
from fmnist_sweep.files import check_writable
from fmnist_sweep.journal import lock
from fmnist_sweep.journal.failed_attempt import set_aside, why_failed
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.records import Record
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.provenance import environment_of_run, recorded_config
from fmnist_sweep.schedulers.opening import OwnSearch
from fmnist_sweep.sweep.loop import Observer, SweepLoop
from fmnist_sweep.sweep.plan import SweepPlan
from fmnist_sweep.sweep.stopping import StopRequests
from fmnist_sweep.sweep.trial_folders import TrialFolders
from fmnist_sweep.tracking.kept_models import leaders
from fmnist_sweep.tracking.opening import SWEEPS, open_tracker
from fmnist_sweep.tracking.outbox import OnTrouble, Outbox, keep_quiet, sending
from fmnist_sweep.tracking.sweep_log import SweepLog
from fmnist_sweep.training.train import ModelBuilder
from fmnist_sweep.workspace import Workspace

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """The caller's own network, images, executor, tuner and scheduler."""

    build_model: ModelBuilder | None = None
    has_data: bool = False
    executor: Executor | None = None
    search: OwnSearch = field(default_factory=OwnSearch)

    @property
    def can_be_exported(self) -> bool:
        """Whether a config can say how to train the winner again."""
        return self.build_model is None and not self.has_data


@dataclass(frozen=True)
class Composed:
    """How a config was composed.

    Attributes:
        pinned: config keys that are not searched, whatever the space says.
        overrides: the words of the command line, for the record.
    """

    pinned: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watch:
    """Callbacks while a sweep runs; None: not called.

    Attributes:
        on_plan: called with the plan, before anything is written.
        on_state: called with the sweep's state, before it begins or goes on.
        on_record: called with every record and the state after it.
        on_step: progress callback, called a few times a second with a rung and how far its epoch
            is, by the executors that `config.executor` names.
        on_trouble: called with the reason why messages to the tracker have to wait, and with None
            when all were sent.
    """

    on_plan: Callable[[SweepPlan], None] | None = None
    on_state: Callable[[SweepState], None] | None = None
    on_record: Observer | None = None
    on_step: OnRungStep | None = None
    on_trouble: OnTrouble = keep_quiet


@dataclass(frozen=True)
class OpenSweep:
    """A sweep whose folder this process holds, with all that it needs to run."""

    plan: SweepPlan
    caller: Caller
    composed: Composed
    watch: Watch
    workspace: Workspace
    journal: Journal
    state: SweepState
    executor: Executor
    outbox: Outbox
    log: SweepLog
    folders: TrialFolders

    def loop(self) -> SweepLoop:
        """Return the loop, which stands where the journal ends."""

        def observe(record: Record, state: SweepState) -> None:
            self.log(record, state)
            if self.watch.on_record is not None:
                self.watch.on_record(record, state)

        return SweepLoop(
            self.plan,
            self.journal,
            self.state,
            self.executor,
            self.folders,
            StopRequests(self.plan.folder, self.log.is_stop_asked),
            observe,
            environment_of_run(self.plan.config, self.composed.overrides),
        )


@contextmanager
def open_sweep(
    plan: SweepPlan, caller: Caller, composed: Composed, watch: Watch, workspace: Workspace
) -> Iterator[OpenSweep]:
    """Lock the sweep's folder; open tracker, executor and journal. The state is empty: `SweepLog`
    replays the journal into it.

    Raises:
        ConfigError: a folder cannot be written, or the tracker cannot be used.
        SweepStopped: another process runs this sweep.
    """
    written = [workspace.sweeps, workspace.artifacts, workspace.best]
    check_writable(*written, *([workspace.reports] if plan.config.report else []))
    tracker = open_tracker(plan.config.tracking, workspace, SWEEPS)
    with (
        lock.held(plan.folder / "lock"),
        sending(tracker, watch.on_trouble, plan.name) as outbox,
        _executor(plan, caller, watch) as executor,
    ):
        journal = _journal(plan, caller, outbox)
        state = SweepState(plan.config.sweep.objective, executor.workers)
        folders = TrialFolders(
            plan.folder,
            leaders(plan.config),
            lambda number: bool(state.trials[number].confirmations),
            outbox.then,
        )
        log = _log_of(plan, caller, outbox, plan.folder, folders.best_model)
        yield OpenSweep(
            plan, caller, composed, watch, workspace, journal, state, executor, outbox, log, folders
        )


def _executor(plan: SweepPlan, caller: Caller, watch: Watch) -> AbstractContextManager[Executor]:
    if caller.executor is not None:
        return nullcontext(caller.executor)
    return open_executor(plan.config, plan.prepared, caller.build_model, plan.folder, watch.on_step)


def _log_of(
    plan: SweepPlan,
    caller: Caller,
    outbox: Outbox,
    folder: Path,
    best_model: Callable[[int], Path],
) -> SweepLog:
    return SweepLog(
        outbox,
        recorded_config(plan.config),
        plan.name,
        folder,
        best_model,
        plan.prepared.dataset,
        plan.prepared.split,
        plan.space,
        custom_builder=caller.build_model is not None,
        custom_data=caller.has_data,
    )


def _journal(plan: SweepPlan, caller: Caller, outbox: Outbox) -> Journal:
    """Return the sweep's journal; a new one if no trial of the old one completed and none would.

    The old one is kept in a folder of its own, and its runs are ended.
    """
    journal = Journal(plan.folder / JOURNAL_FILE)
    objective = plan.config.sweep.objective
    why = why_failed(plan.config, SweepState.after(journal, objective))
    if why is None:
        return journal
    aside = set_aside(plan.folder)
    _log.warning(
        "sweep %s: %s; it starts over, and the journal so far is kept in %s", plan.name, why, aside
    )
    log = _log_of(plan, caller, outbox, aside, lambda number: aside / str(number))
    log.replay(Journal(aside / JOURNAL_FILE), SweepState(objective))
    log.cut_off(why)
    return Journal(plan.folder / JOURNAL_FILE)
