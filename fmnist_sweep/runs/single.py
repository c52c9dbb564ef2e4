"""Trains a single config with tracking: a default, a baseline or a reproduction."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data.dataset import run_name
from fmnist_sweep.errors import NotTracked
from fmnist_sweep.files import check_writable
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.provenance import environment_of_run, recorded_config
from fmnist_sweep.reasons import message_of
from fmnist_sweep.reproduction import Outcome, Verification, check_before, compare
from fmnist_sweep.tracking.opening import TRAININGS, open_tracker
from fmnist_sweep.tracking.outbox import OnTrouble, Outbox, keep_quiet, sending
from fmnist_sweep.tracking.run_log import (
    cut_off_failed,
    dataset_inputs,
    final_metrics,
    input_tags,
    log_best_model,
    log_digests,
    log_git_diff,
    log_metrics,
    provenance_tags,
    start_run,
)
from fmnist_sweep.tracking.tracker import RunStatus, Tracker
from fmnist_sweep.training.autologging import autologging_off
from fmnist_sweep.training.preparation import Prepared, epochs_of, prepare, with_threads
from fmnist_sweep.training.progress import OnStep
from fmnist_sweep.training.results import BEST_MODEL_FILE, EpochRecord, RunResult
from fmnist_sweep.training.rung import default_builder, run_rung
from fmnist_sweep.turns import alone
from fmnist_sweep.workspace import Workspace


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
    """Train a config to its end, tracked as a run of its own.

    Args:
        config: the config to train; if it has a record and the run is not derived, the result is
            compared with it.
        label: the run's name.
        overrides: how the config was composed, for the record.
        origin: where the config comes from.
        on_start: called with a line that says how a user's data were understood, if they are, and
            one that describes the training.
        on_epoch: called after every epoch.
        on_step: progress callback, called a few times a second; None disables it.
        on_trouble: called with the reason when the tracker becomes unavailable, and with None when
            it is available again.

    Raises:
        UserError: the config cannot be run, or another sweep or training is running in this
            process; nothing was written.
        NotReproduced: data, split or config differ from the record; nothing was written.
        TrialFailed: the loss is not finite.
    """
    config = with_threads(config)
    prepared = prepare(config)
    expected = None if origin.derived else config.expected
    if expected is not None:
        data, split = prepared.dataset.sha256, prepared.split.sha256
        check_before(expected, config.run, data, split, origin.source or label)
    epochs = epochs_of(config, prepared)
    shape, classes = prepared.dataset.image_shape, prepared.dataset.classes
    parameters = plan_cnn(config.model, shape, classes).parameters
    workspace = Workspace.here()
    check_writable(workspace.artifacts)
    tracker = open_tracker(config.tracking, workspace, TRAININGS)
    here = environment_of_run(config, overrides)
    name = run_name(label, prepared.dataset)
    if prepared.dataset.understood:
        on_start(prepared.dataset.understood)
    on_start(
        f"{name}: {parameters:,} parameters, {counted(epochs, 'epoch')} of "
        f"{len(prepared.split.train):,} images, {counted(here.numerics.threads, 'thread')}"
    )
    key = f"{name}@{time.time()}"
    with (
        tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place,
        sending(tracker, on_trouble, name) as outbox,
    ):
        folder = Path(place)
        with _ended(outbox, key):
            kept = recorded_config(config)
            _start(outbox, key, name, kept, prepared, parameters, origin, here)

            def tell(record: EpochRecord) -> bool:
                outbox.epoch(key, record)
                on_epoch(record)
                stop_if_asked()
                return False

            result = run_rung(
                config.run,
                prepared.data,
                epochs,
                folder,
                build_model=default_builder,
                on_epoch=tell,
                every_steps=config.tracking.every_steps,
                on_step=on_step,
            )
            log_metrics(outbox, key, result, at=time.time())
            log_digests(outbox, key, result)
            log_best_model(outbox, key, folder / BEST_MODEL_FILE)
            verification = None
            if expected is not None:
                verification = compare(expected, _outcome(prepared, result), here.numerics)
                outbox.tags(key, {"reproduction": verification.verdict})
        not_tracked = _sent(outbox, folder, f"{name}-{time.time():.0f}")
        return TrackedRun(result, verification, outbox.where(key), not_tracked)


def _sent(outbox: Outbox, folder: Path, name: str) -> NotTracked | None:
    """Wait until everything was sent; if something could not be, keep it and return where it is."""
    try:
        outbox.finish()
    except BaseException as error:  # an interrupt too, because the training is complete
        kept = Workspace.here().unsent / name
        shutil.copytree(folder, kept)
        if not isinstance(error, NotTracked):
            raise
        return NotTracked(f"{error}. The trained model is in {kept}")
    return None


def _outcome(prepared: Prepared, result: RunResult) -> Outcome:
    return Outcome(
        final_metrics(result),
        prepared.split.images,
        data_sha256=prepared.dataset.sha256,
        split_sha256=prepared.split.sha256,
        weights_sha256=result.weights_sha256,
        best_weights_sha256=result.best_weights_sha256,
    )


def _start(
    tracker: Tracker,
    key: str,
    name: str,
    config: Config,
    prepared: Prepared,
    parameters: int,
    origin: Origin,
    here: Environment,
) -> None:
    inputs = dataset_inputs(prepared.dataset, prepared.split)
    start_run(
        tracker,
        key=key,
        name=name,
        config=lambda: config.run,
        params=lambda: {"model.parameters": parameters, "train.seed": config.train.seed},
        tags={
            **provenance_tags(prepared.dataset, prepared.split, config),
            **input_tags(inputs),
            **config.tracking.tags,
            "fmnist.role": "training",
            "train.command": here.command,
            **origin.tags,
        },
        environment=here,
        started_at=time.time(),
        inputs=inputs,
        note=config.tracking.note,
    )
    log_git_diff(tracker, key)


@contextmanager
def _ended(outbox: Outbox, key: str) -> Iterator[None]:
    """End the run when the block ends: FINISHED, KILLED after an interrupt, FAILED after an
    error."""
    try:
        yield
    except KeyboardInterrupt:
        outbox.cut_off(key, RunStatus.KILLED, None, at=time.time())
        raise
    except BaseException as error:
        cut_off_failed(outbox, key, message_of(error), at=time.time())
        raise
    outbox.end(key, RunStatus.FINISHED, at=time.time())
