"""A sweep, run: its parts put together."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_sweep import environment, interrupts
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import Dataset
from fmnist_sweep.errors import FmnistSweepError
from fmnist_sweep.executors.opening import check_executor, open_executor
from fmnist_sweep.executors.protocol import Executor, OnRungStep, Rung, run_now
from fmnist_sweep.files import canonical_json, check_writable, write_text_whole
from fmnist_sweep.journal import lock
from fmnist_sweep.journal.failed_attempt import set_aside, why_failed
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.leaders import Leaders
from fmnist_sweep.journal.records import SCHEMA, Begun, Ended, Record
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.provenance import environment_of_run, recorded_command, recorded_config
from fmnist_sweep.report.class_names import write_classes
from fmnist_sweep.report.reporting import report_files
from fmnist_sweep.runs.best_file import write_best_file
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.sweep.best_models import best_model_files
from fmnist_sweep.sweep.budget import finished_already
from fmnist_sweep.sweep.builder_check import check_builder
from fmnist_sweep.sweep.final_report import final_report
from fmnist_sweep.sweep.finish import confirm, look_at_official_test
from fmnist_sweep.sweep.loop import Observer, SweepLoop
from fmnist_sweep.sweep.plan import SweepPlan, plan_sweep
from fmnist_sweep.sweep.registration import register_winner
from fmnist_sweep.sweep.results import CONFIG_FILE, Sweep
from fmnist_sweep.sweep.stopping import StopRequests
from fmnist_sweep.sweep.trial_folders import TrialFolders
from fmnist_sweep.tracking.kept_models import candidates
from fmnist_sweep.tracking.opening import SWEEPS, open_tracker
from fmnist_sweep.tracking.outbox import OnTrouble, Outbox, keep_quiet, sending
from fmnist_sweep.tracking.sweep_log import SweepLog
from fmnist_sweep.tracking.sweep_run import CLASSES_FILE, SPLIT_FOLDER
from fmnist_sweep.training.autologging import autologging_off
from fmnist_sweep.training.batches import ImageSet
from fmnist_sweep.training.saved_code import foreign_code
from fmnist_sweep.training.train import ModelBuilder
from fmnist_sweep.turns import alone

_log = logging.getLogger(__name__)


@autologging_off()
def run_sweep(
    config: Config,
    build_model: ModelBuilder | None = None,
    data: Dataset | None = None,
    *,
    label: str = "sweep",
    pinned: tuple[str, ...] = (),
    overrides: tuple[str, ...] = (),
    executor: Executor | None = None,
    on_plan: Callable[[SweepPlan], None] | None = None,
    on_state: Callable[[SweepState], None] | None = None,
    observer: Observer | None = None,
    on_step: OnRungStep | None = None,
    on_trouble: OnTrouble = keep_quiet,
) -> Sweep:
    """Run a sweep, or go on with the one that has the same identity.

    Args:
        config: as `compose_config` gives it; needs a `space` or `variants`.
        build_model: (config, input_shape, classes) -> a Keras model that gives class
            probabilities for images in 0..1; None: the CNN that `config.model` describes.
        data: images of one's own (`dataset_from_arrays`); None: what `config.data` names.
            The winner of one's own images or networks is `best_model()`; no config could say
            how to train it again, so none is exported.
        label: the first part of the name where `sweep.name` is null.
        pinned: config keys that are not to be searched, whatever the space says.
        overrides: how the config was composed, for the record.
        executor: runs the rungs, such as a cluster's engine behind `submit` and `wait`; None: the
            one that `config.executor` names.
        on_plan: called with the plan, before anything is written.
        on_state: called with the sweep's state, before it begins or goes on.
        observer: called with every record and the state after it.
        on_step: progress callback, called a few times a second with a rung and how far its epoch
            is, by the executors that `config.executor` names; None disables it.
        on_trouble: called with the reason why messages to the tracker have to wait, and with None
            when all were sent.

    Raises:
        UserError: the config cannot be run, or another sweep or training runs in another thread of
            this process; nothing was written.
        SweepStopped: too many trials failed, or another process runs this sweep.
        NotTracked: the sweep has ended, and its tracking data was only partly sent.
    """
    with interrupts.terminable(), alone("a sweep"):
        plan = plan_sweep(config, build_model, data, label=label, pinned=pinned, root=Path.cwd())
        check_executor(config, build_model)
        if build_model is not None and executor is None:
            check_builder(plan, build_model)
        if on_plan is not None:
            on_plan(plan)
        for remark in plan.remarks:
            _log.warning("%s", remark)
        own = _Own(build_model, data is not None, executor)
        watch = _Watch(on_state, observer, on_step)
        return _tracked(plan, own, overrides, watch, on_trouble)


@dataclass(frozen=True)
class _Own:
    """What the caller brought along."""

    build_model: ModelBuilder | None
    data: bool
    executor: Executor | None


@dataclass(frozen=True)
class _Watch:
    """Who looks on."""

    on_state: Callable[[SweepState], None] | None
    observer: Observer | None
    on_step: OnRungStep | None


def _tracked(
    plan: SweepPlan,
    own: _Own,
    overrides: tuple[str, ...],
    watch: _Watch,
    on_trouble: OnTrouble,
) -> Sweep:
    folders = ["mlruns/sweeps", "mlruns/artifacts", "experiments/best"]
    check_writable(Path.cwd(), *folders, *(["mlruns/reports"] if plan.config.report else []))
    tracker = open_tracker(
        plan.config.tracking,
        root=Path.cwd(),
        environment_uri=environment.tracking_uri_from_environment(),
        experiment=plan.config.tracking.experiment or SWEEPS,
    )
    with lock.held(plan.folder / "lock"), sending(tracker, on_trouble, plan.name) as outbox:
        if own.executor is not None:
            return _run(plan, outbox, own.executor, own, overrides, watch)
        with open_executor(
            plan.config, plan.prepared, own.build_model, plan.folder, watch.on_step
        ) as executor:
            return _run(plan, outbox, executor, own, overrides, watch)


def _run(
    plan: SweepPlan,
    outbox: Outbox,
    executor: Executor,
    own: _Own,
    overrides: tuple[str, ...],
    watch: _Watch,
) -> Sweep:
    config, prepared = plan.config, plan.prepared
    kept = recorded_config(config)
    place = environment_of_run(config, overrides)

    def log_of(folder: Path, best_model: Callable[[int], Path]) -> SweepLog:
        return SweepLog(
            outbox,
            kept,
            plan.name,
            folder,
            best_model,
            prepared.dataset,
            prepared.split,
            plan.space,
            custom_builder=own.build_model is not None,
            custom_data=own.data,
        )

    journal = _journal(plan, lambda folder: log_of(folder, lambda number: folder / str(number)))
    state = SweepState(config.sweep.objective)
    folders = TrialFolders(
        plan.folder,
        Leaders(config.sweep.objective, candidates(config)),
        lambda number: bool(state.trials[number].confirmations),
        outbox.then,
    )
    log = log_of(plan.folder, folders.best_model)
    write_text_whole(plan.folder / CONFIG_FILE, canonical_json(_as_given(kept)))
    with log.ends_what_is_open():
        log.replay(journal, state)
        ended_before = state.ended
        if watch.on_state is not None:
            watch.on_state(state)

        def observe(record: Record, state: SweepState) -> None:
            log(record, state)
            if watch.observer is not None:
                watch.observer(record, state)

        loop = SweepLoop(
            plan,
            journal,
            state,
            executor,
            folders,
            StopRequests(plan.folder, log.is_stop_asked),
            observe,
            place,
        )
        if state.begun is None:
            # Checkpoints without a journal are of a sweep that nobody knows any more.
            for left in ("trials", "stop"):
                shutil.rmtree(plan.folder / left, ignore_errors=True)
            loop.record(_begun(plan, overrides))
        reason = loop.run()
        confirm(config, state, executor, plan.folder, loop)
        official = prepared.split.official_set(prepared.dataset)
        look_at_official_test(
            state,
            None if official is None else ImageSet(*official, prepared.dataset.classes),
            lambda number: _model_files(config, state, executor, folders, plan.folder, number),
            loop.record,
        )
        renamed = write_classes(plan.folder, prepared)  # before the report, which has them too
        custom = own.build_model is not None or own.data
        best_file = None if custom else _export(plan, state)
        if state.ended is None or state.ended.reason != reason:
            loop.record(Ended(reason, at=time.time()))
        folders.clear(but=lambda: _untracked_winner(state, log))
        shutil.rmtree(plan.folder / "stop", ignore_errors=True)  # asked too late
    if ended_before is not None and state.ended is ended_before:
        _log.warning("%s", finished_already(plan.name, ended_before, reason))
    log.files([(plan.folder / CLASSES_FILE, SPLIT_FOLDER)])
    registration, trouble = None, None
    try:
        outbox.finish()
        registration = register_winner(config, state, prepared, plan.folder, log.run_id)
    except FmnistSweepError as error:  # the report needs no tracker
        trouble = error
    report = final_report(plan, state, best_file) if config.report else None
    if trouble is not None:
        raise trouble
    if report is not None:
        log.files(report_files(plan.folder, report))
        outbox.finish()
    standing = (report, registration, renamed)
    return Sweep(plan.name, plan.folder, config, state, best_file, log.run_id, *standing)


def _journal(plan: SweepPlan, log_of: Callable[[Path], SweepLog]) -> Journal:
    """Return the sweep's journal; a new one where no trial of the old one completed and none would.

    The old one is kept in a folder, which `log_of` is called with: its runs get the ends that it
    has for them.
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
    log = log_of(aside)
    log.replay(Journal(aside / JOURNAL_FILE), SweepState(objective))
    log.cut_off(why)
    return Journal(plan.folder / JOURNAL_FILE)


def _model_files(
    config: Config,
    state: SweepState,
    executor: Executor,
    folders: TrialFolders,
    sweep: Path,
    number: int,
) -> Iterator[Path]:
    """Yield where a trial's best model is to be had: in the sweep's folder, in MLflow, or, the log
    is told, by training it again."""
    assert state.begun is not None  # there are trials
    for path in best_model_files(config, state.begun, sweep, number, folders.of(number)):
        yield path
        if foreign_code(path) is not None:
            return  # what could not be loaded could not be loaded again
    _log.warning("trial %d: its best model is unavailable; it is trained again", number)
    trial = state.trials[number]
    base = apply_overrides(config.run, trial.overrides)
    rung = Rung(base, 0, trial.last_epoch, folders.of(number), number)
    if run_now(executor, rung).result is not None:
        yield folders.best_model(number)


def _untracked_winner(state: SweepState, log: SweepLog) -> int | None:
    best = state.best
    return None if best is None or log.has_run(best.number) else best.number


def _begun(plan: SweepPlan, overrides: tuple[str, ...]) -> Begun:
    return Begun(
        schema=SCHEMA,
        name=plan.name,
        identity=plan.identity,
        command=recorded_command(overrides),
        at=time.time(),
    )


def _export(plan: SweepPlan, state: SweepState) -> Path | None:
    best = state.best
    if best is None:
        return None
    folder = Path.cwd() / "experiments" / "best"
    path = write_best_file(folder, plan.name, plan.config, state, best, plan.prepared.split)
    write_text_whole(plan.folder / "best.yaml", path.read_text(encoding="utf-8"))
    return path


def _as_given(config: Config) -> Mapping[str, Any]:
    return {**config.model_dump(), "model": config.model.as_given()}
