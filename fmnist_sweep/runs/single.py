"""Trains a single config with tracking: a default, a baseline or a reproduction.

It is a journal with one trial, in a folder of its own: a killed training goes on as a sweep's does.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.record_schema import Environment, Expected
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data.dataset import run_name
from fmnist_sweep.errors import NotTracked, TrialFailed
from fmnist_sweep.executors.protocol import OnEpoch
from fmnist_sweep.files import check_writable
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.journal import lock
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.identity import training_identity, training_name
from fmnist_sweep.journal.records import (
    SCHEMA,
    Asked,
    Begun,
    EpochEnded,
    Record,
    RunsIn,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.same_config import of_the_same_config
from fmnist_sweep.journal.scores import value_of
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.provenance import environment_of_run, recorded_config
from fmnist_sweep.reproduction import Outcome, Verification, check_before, compare
from fmnist_sweep.tracking.opening import TRAININGS, open_tracker
from fmnist_sweep.tracking.outbox import OnTrouble, keep_quiet, sending
from fmnist_sweep.tracking.run_log import final_metrics
from fmnist_sweep.tracking.training_log import TrainingLog
from fmnist_sweep.training.autologging import autologging_off
from fmnist_sweep.training.checkpoint import CheckpointFolder
from fmnist_sweep.training.preparation import Prepared, epochs_of, prepare, with_threads
from fmnist_sweep.training.progress import OnStep
from fmnist_sweep.training.results import BEST_MODEL_FILE, EpochRecord, RunResult
from fmnist_sweep.training.rung import default_builder, run_rung
from fmnist_sweep.turns import alone
from fmnist_sweep.workspace import Workspace

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """The file a training's config comes from (`best/NAME` or `baseline/NAME`, else None), and
    whether command-line values change it (a derived run)."""

    source: str | None = None
    derived: bool = False

    @property
    def tags(self) -> dict[str, str]:
        """The tag that distinguishes a rerun from a derived run."""
        if self.source is None:
            return {}
        return {"derived_from" if self.derived else "rerun_of": self.source}


@dataclass(frozen=True)
class TrackedRun:
    """A completed training: its result, the comparison with the config's record (None if not
    requested), and the tracker's run ID (None without one). `not_tracked` says what could not be
    sent to the tracker."""

    result: RunResult
    verification: Verification | None
    run_id: str | None
    not_tracked: NotTracked | None


@alone("a training")
@autologging_off()
def run_single(
    config: Config,
    label: str,
    overrides: tuple[str, ...],
    origin: Origin,
    *,
    on_start: Callable[[str], None],
    on_epoch: Callable[[EpochRecord], None],
    on_step: OnStep | None = None,
    on_trouble: OnTrouble = keep_quiet,
) -> TrackedRun:
    """Train a config to its end, tracked as a run of its own, or go on with the unfinished training
    of the same identity.

    Args:
        config: the config to train; if it has a record and the run is not derived, the result is
            compared with it.
        label: the run's name.
        overrides: how the config was composed, for the record.
        origin: where the config comes from.
        on_start: called with lines: how a user's data were understood, if they are; what is
            trained; and where it goes on.
        on_epoch: called after every epoch, and with those of an earlier start first.
        on_step: progress callback, called a few times a second; None disables it.
        on_trouble: called with the reason when the tracker becomes unavailable, and with None when
            it is available again.

    Raises:
        UserError: the config cannot be run, or another sweep or training is running in this
            process; nothing was written.
        NotReproduced: data, split or config differ from the record; nothing was written.
        SweepStopped: another process runs this training.
        TrialFailed: the loss is not finite.
    """
    config = with_threads(config)
    prepared = prepare(config)
    dataset, split = prepared.dataset, prepared.split
    expected = None if origin.derived else config.expected
    if expected is not None:
        source = origin.source or label
        check_before(expected, config.run, dataset.sha256, split.sha256, source)
    epochs = epochs_of(config, prepared)
    parameters = plan_cnn(config.model, dataset.image_shape, dataset.classes).parameters
    workspace, name = Workspace.here(), run_name(label, dataset)
    identity = training_identity(config, dataset.sha256, split.sha256, origin.tags)
    folder = workspace.training(training_name(name, identity))
    check_writable(workspace.artifacts, workspace.trainings)
    tracker = open_tracker(config.tracking, workspace, TRAININGS)
    here = environment_of_run(config, overrides)
    with (
        lock.held(folder / "lock", "training"),
        sending(tracker, on_trouble, name) as outbox,
    ):
        if dataset.understood:
            on_start(dataset.understood)
        on_start(
            f"{name}: {parameters:,} parameters, {counted(epochs, 'epoch')} of "
            f"{len(split.train):,} images, {counted(here.numerics.threads, 'thread')}"
        )
        log = TrainingLog(
            outbox,
            recorded_config(config),
            name,
            folder / BEST_MODEL_FILE,
            dataset,
            split,
            parameters,
            origin.tags,
        )
        state = SweepState(config.train.monitor)
        training = _Training(Journal(folder / JOURNAL_FILE), state, log, on_epoch)

        def train(after: int, tell: OnEpoch) -> RunResult:
            if after:
                on_start(f"{name}: resumes after epoch {after}")
            return run_rung(
                config.run,
                prepared.data,
                epochs,
                folder,
                first_epoch=after,
                build_model=default_builder,
                on_epoch=tell,
                every_steps=config.tracking.every_steps,
                on_step=on_step,
            )

        with log.ends_what_is_open():
            log.replay(training.journal, state)
            if state.begun is None:
                for remark in of_the_same_config(folder, [identity], "training"):
                    _log.warning("%s", remark)
                CheckpointFolder(folder).clear()  # of a training whose journal was removed
                training.record(Begun(SCHEMA, folder.name, identity, here.command, time.time()))
            if state.ended_trials:
                on_start(f"{name}: is trained already; sending what the tracker lacks")
            else:
                training.run(epochs, here, train)
            trial, verification = training.trial, None
            if expected is not None and trial.result is not None:
                places = state.environments_of(trial)
                verification = _compared(expected, prepared, trial.result, places)
                outbox.tags(log.key, {"reproduction": verification.verdict})
            # So that only what is unfinished is resumed.
            outbox.then(partial(shutil.rmtree, folder, ignore_errors=True))
            if trial.result is None:
                raise TrialFailed(trial.reason)
        not_tracked = None
        try:
            outbox.finish()
        except NotTracked as error:
            not_tracked = NotTracked(
                f"{error}. The trained model is in {folder}; the same command sends what is missing"
            )
        return TrackedRun(trial.result, verification, outbox.where(log.key), not_tracked)


@dataclass(frozen=True)
class _Training:
    """A journal with one trial, and what follows from its records."""

    journal: Journal
    state: SweepState
    log: TrainingLog
    on_epoch: Callable[[EpochRecord], None]

    @property
    def trial(self) -> Trial:
        """The trial, once it was asked for."""
        return self.state.trials[0]

    def record(self, record: Record) -> None:
        """Put a record on disk, then let it count."""
        self.journal.append(record)
        self.state.apply(record)
        self.log(record, self.state)
        stop_if_asked()

    def run(
        self, epochs: int, here: Environment, train: Callable[[int, OnEpoch], RunResult]
    ) -> None:
        """Train to the end. `train` is called with the number of epochs that the journal has."""
        if not self.state.runs_in(here):
            self.record(RunsIn(here, time.time()))
        if not self.state.asks:
            self.record(Asked(0, 0, 0, 0, epochs, None, None, {}, time.time()))
        started = time.perf_counter()
        result, reason = None, None
        try:
            result = train(len(self.trial.history), self._tell)
        except TrialFailed as error:
            reason = without_secrets(str(error))
        status, score = TrialStatus.FAILED, None
        if result is not None:
            # Nothing is ranked by it; without validation there is no such metric.
            status = TrialStatus.COMPLETED
            score = value_of(result, self.state.objective.metric) or 0.0
        seconds = time.perf_counter() - started
        self.record(Told(0, 0, status, score, result, reason, seconds, time.time()))

    def _tell(self, record: EpochRecord) -> bool:
        # After a kill epochs are reported again; the journal has each once.
        if record.epoch > len(self.trial.history):
            self.record(EpochEnded.of(0, record))
        self.on_epoch(record)
        return False


def _compared(
    expected: Expected, prepared: Prepared, result: RunResult, places: Sequence[Environment]
) -> Verification:
    """Compare a result with its record, in the environment that differs from the record's if the
    training went on in another one."""
    numerics = [place.numerics for place in places]
    others = [one for one in numerics if one != expected.numerics]
    outcome = Outcome(
        final_metrics(result),
        prepared.split.images,
        data_sha256=prepared.dataset.sha256,
        split_sha256=prepared.split.sha256,
        weights_sha256=result.weights_sha256,
        best_weights_sha256=result.best_weights_sha256,
    )
    return compare(expected, outcome, (others or numerics)[0])
