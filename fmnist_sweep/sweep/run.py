"""A sweep from its config to its results."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fmnist_sweep import interrupts
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import Dataset
from fmnist_sweep.errors import FmnistSweepError
from fmnist_sweep.executors.opening import check_executor
from fmnist_sweep.executors.protocol import Executor, Rung, run_now
from fmnist_sweep.files import canonical_json, write_text_whole
from fmnist_sweep.journal.records import SCHEMA, Begun, Bounded, Ended
from fmnist_sweep.provenance import recorded_command, recorded_config
from fmnist_sweep.report.class_names import write_classes
from fmnist_sweep.report.reporting import report_files
from fmnist_sweep.runs.best_file import write_best_file
from fmnist_sweep.schedulers.opening import OwnSearch, SchedulerFactory
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.sweep.best_models import best_model_files
from fmnist_sweep.sweep.budget import finished_already
from fmnist_sweep.sweep.builder_check import check_builder
from fmnist_sweep.sweep.final_report import final_report
from fmnist_sweep.sweep.finish import confirm, look_at_official_test, refit, refit_rung
from fmnist_sweep.sweep.loop import SweepLoop
from fmnist_sweep.sweep.opening import Caller, Composed, OpenSweep, Watch, open_sweep
from fmnist_sweep.sweep.plan import plan_sweep
from fmnist_sweep.sweep.registration import Registration, register_winner
from fmnist_sweep.sweep.results import CONFIG_FILE, Sweep
from fmnist_sweep.tracking.sweep_run import CLASSES_FILE, SPLIT_FOLDER
from fmnist_sweep.training.autologging import autologging_off
from fmnist_sweep.training.batches import ImageSet
from fmnist_sweep.training.saved_code import foreign_code
from fmnist_sweep.training.train import ModelBuilder
from fmnist_sweep.tuners.protocol import TunerFactory
from fmnist_sweep.turns import alone
from fmnist_sweep.workspace import Workspace

_log = logging.getLogger(__name__)


@autologging_off()
def run_sweep(
    config: Config,
    build_model: ModelBuilder | None = None,
    data: Dataset | None = None,
    *,
    tuner: TunerFactory | None = None,
    scheduler: SchedulerFactory | None = None,
    executor: Executor | None = None,
    label: str = "sweep",
    composed: Composed = Composed(),  # noqa: B008 - frozen
    watch: Watch = Watch(),  # noqa: B008 - frozen
) -> Sweep:
    """Run a sweep, or go on with the one that has the same identity.

    Args:
        config: as `compose_config` returns it; needs a `space` or `variants`.
        build_model: (config, input_shape, classes) -> a Keras model that returns class
            probabilities for images in 0..1; None: the CNN that `config.model` describes.
        data: your own images (`dataset_from_arrays`); None: those that `config.data` names.
            The winner of your own images or networks is `best_model()`; no config could say
            how to train it again, so none is exported.
        tuner: (problem) -> a `Tuner`; None: the one that `config.tuner` names.
        scheduler: (problem, tuner) -> a `Scheduler`; None: the one that the config names.
        executor: runs the rungs, such as a cluster's engine behind `submit` and `wait`; None: the
            one that `config.executor` names.
        label: the first part of the sweep's name if `sweep.name` is null.
        composed: how the config was composed: what is not searched, and the command for the record.
        watch: callbacks.

    Raises:
        UserError: the config cannot be run, or another sweep or training runs in another thread of
            this process; nothing was written.
        SweepStopped: too many trials failed, or another process runs this sweep.
        NotTracked: the sweep has ended, and its tracking data was only partly sent.
    """
    with interrupts.terminable(), alone("a sweep"):
        workspace = Workspace.here()
        caller = Caller(build_model, data is not None, executor, OwnSearch(tuner, scheduler))
        plan = plan_sweep(
            config,
            build_model,
            data,
            label=label,
            pinned=composed.pinned,
            workspace=workspace,
            own=caller.search,
        )
        check_executor(config, build_model)
        if build_model is not None and executor is None:
            check_builder(plan, build_model)
        if watch.on_plan is not None:
            watch.on_plan(plan)
        for remark in plan.remarks:
            _log.warning("%s", remark)
        with open_sweep(plan, caller, composed, watch, workspace) as sweep:
            return _finished(sweep, _searched(sweep))


def _searched(sweep: OpenSweep) -> Path | None:
    """Search, confirm, look at the official test set; return the winner's exported config."""
    plan, state = sweep.plan, sweep.state
    write_text_whole(plan.folder / CONFIG_FILE, canonical_json(_as_given(plan.config)))
    with sweep.log.ends_what_is_open():
        sweep.log.replay(sweep.journal, state)
        ended_before = state.ended
        if sweep.watch.on_state is not None:
            sweep.watch.on_state(state)
        loop = sweep.loop()
        if state.begun is None:
            _begin(sweep, loop)
        if plan.learnt is not None and state.learnt is None:
            loop.record(plan.learnt)
        _record_bounds(sweep, loop)
        reason = loop.run()
        confirm(plan.config, state, sweep.executor, plan.folder, loop)
        refit(plan.config, state, sweep.executor, sweep.folders, loop)
        look_at_official_test(state, _official_set(sweep), _model_files_of(sweep), loop.record)
        best_file = _export(sweep)
        if state.ended is None or state.ended.reason != reason:
            loop.record(Ended(reason, at=time.time()))
        paused = {asked.trial for asked in state.open_asks.values()}
        sweep.folders.clear(but=lambda: _untracked_winner(sweep), paused=paused)
        shutil.rmtree(plan.folder / "stop", ignore_errors=True)  # requests that came too late
    if ended_before is not None and state.ended is ended_before:
        _log.warning("%s", finished_already(plan.name, ended_before, reason))
    return best_file


def _finished(sweep: OpenSweep, best_file: Path | None) -> Sweep:
    """Send what is left to the tracker, register the winner, write the report."""
    plan, state = sweep.plan, sweep.state
    renaming = write_classes(plan.folder, plan.prepared)  # before the report, which shows them
    sweep.log.files([(plan.folder / CLASSES_FILE, SPLIT_FOLDER)])
    registration: Registration | None = None
    trouble: FmnistSweepError | None = None
    try:
        sweep.outbox.finish()
        registration = register_winner(
            plan.config, state, plan.prepared, plan.folder, sweep.log.run_id
        )
    except FmnistSweepError as error:  # the report needs no tracker
        trouble = error
    report: Path | None = None
    if plan.config.report:
        is_registered = registration is not None
        report = final_report(plan, state, best_file, is_registered=is_registered)
    if trouble is not None:
        raise trouble
    if report is not None:
        sweep.log.files(report_files(plan.folder, report))
        sweep.outbox.finish()
    return Sweep(
        plan.name,
        plan.folder,
        plan.config,
        state,
        best_file,
        sweep.log.run_id,
        report,
        registration,
        renaming,
    )


def _begin(sweep: OpenSweep, loop: SweepLoop) -> None:
    # Checkpoints without a journal are left over from a sweep whose journal was removed.
    for left in ("trials", "stop"):
        shutil.rmtree(sweep.plan.folder / left, ignore_errors=True)
    command = recorded_command(sweep.composed.overrides)
    loop.record(Begun(SCHEMA, sweep.plan.name, sweep.plan.identity, command, at=time.time()))


def _record_bounds(sweep: OpenSweep, loop: SweepLoop) -> None:
    """Record within which bounds the winner is chosen, where that is new."""
    bounds = sweep.plan.config.sweep.choose or {}
    if sweep.state.bounds != bounds:
        plain = {name: bound.model_dump(exclude_none=True) for name, bound in bounds.items()}
        loop.record(Bounded(plain, at=time.time()))


def _official_set(sweep: OpenSweep) -> ImageSet | None:
    prepared = sweep.plan.prepared
    official = prepared.split.official_set(prepared.dataset)
    return None if official is None else ImageSet(*official, prepared.dataset.classes)


def _model_files_of(sweep: OpenSweep) -> Callable[[int], Iterator[Path]]:
    plan, state, folders = sweep.plan, sweep.state, sweep.folders

    def files(number: int) -> Iterator[Path]:
        """Yield a trial's best model from the sweep's folder, from MLflow, or trained again."""
        assert state.begun is not None  # there are trials
        for path in best_model_files(
            plan.config, state.begun, plan.folder, number, folders.of(number)
        ):
            yield path
            if foreign_code(path) is not None:
                return  # what could not be loaded could not be loaded again
        _log.warning("trial %d: its best model is unavailable; it is trained again", number)
        trial = state.trials[number]
        if trial.refit is not None:
            rung = refit_rung(plan.config, trial, folders.of(number))
        else:
            base = apply_overrides(plan.config.run, trial.overrides)
            rung = Rung(base, 0, trial.last_epoch, folders.of(number), number)
        if run_now(sweep.executor, rung).result is not None:
            yield folders.best_model(number)

    return files


def _untracked_winner(sweep: OpenSweep) -> int | None:
    best = sweep.state.best
    return None if best is None or sweep.log.has_run(best.number) else best.number


def _export(sweep: OpenSweep) -> Path | None:
    plan, best = sweep.plan, sweep.state.best
    if best is None or not sweep.caller.can_be_exported:
        return None
    folder, split = sweep.workspace.best, plan.prepared.split
    path = write_best_file(folder, plan.name, plan.config, sweep.state, best, split)
    write_text_whole(plan.folder / "best.yaml", path.read_text(encoding="utf-8"))
    return path


def _as_given(config: Config) -> dict[str, object]:
    kept = recorded_config(config)
    return {**kept.model_dump(), "model": kept.model.as_given()}
