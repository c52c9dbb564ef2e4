"""One training of one config, tracked: a default, a baseline or a reproduction."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fmnist_sweep import environment
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import RunError
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.provenance import command
from fmnist_sweep.search.plan import check_writable
from fmnist_sweep.tracking import open_tracker
from fmnist_sweep.tracking.run_log import (
    dataset_inputs,
    end_failed,
    input_tags,
    log_files,
    log_metrics,
    provenance_tags,
    start_run,
)
from fmnist_sweep.tracking.tracker import RunStatus, Tracker
from fmnist_sweep.training.preparation import Prepared, epochs_of, prepare, with_threads
from fmnist_sweep.training.results import BEST_MODEL_FILE, EpochRecord, RunResult
from fmnist_sweep.training.rung import default_builder, run_rung

EXPERIMENT = "fmnist-train"


def run_single(
    config: Config,
    label: str,
    overrides: tuple[str, ...],
    *,
    on_start: Callable[[str], None],
    on_epoch: Callable[[EpochRecord], None],
) -> RunResult:
    """Train a config from the start to its end, and track it as a run of its own.

    Args:
        config: what to train.
        label: the run's name.
        overrides: how the config was composed, for the record.
        on_start: hears in a line what is going to be trained.
        on_epoch: hears of every epoch.

    Raises:
        UserError: the config cannot be run; nothing was written.
        TrialFailed: the loss is not finite.
    """
    config = with_threads(config)
    prepared = prepare(config)
    epochs = epochs_of(config, prepared)
    shape, classes = prepared.dataset.image_shape, prepared.dataset.classes
    parameters = plan_cnn(config.model, shape, classes).parameters
    check_writable(Path.cwd(), "mlruns/artifacts")
    tracker = open_tracker(
        config.tracking,
        root=Path.cwd(),
        environment_uri=environment.tracking_uri_from_environment(),
        experiment=config.tracking.experiment or EXPERIMENT,
    )
    name = f"synthetic-{label}" if prepared.dataset.synthetic else label
    on_start(
        f"{name}: {parameters:,} parameters, {epochs} epochs of {len(prepared.split.train):,} "
        f"images, {config.train.threads} threads"
    )
    key = f"{name}@{time.time()}"
    with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place, _ended(tracker, key):
        _start(tracker, key, name, config, prepared, parameters, overrides)

        def tell(record: EpochRecord) -> None:
            tracker.epoch(key, record)
            on_epoch(record)
            environment.stop_if_asked()

        folder = Path(place)
        result = run_rung(
            config.run, prepared.data, epochs, folder, build_model=default_builder, on_epoch=tell
        )
        log_metrics(tracker, key, result, at=time.time())
        log_files(tracker, key, result, folder / BEST_MODEL_FILE)
    return result


def _start(
    tracker: Tracker,
    key: str,
    name: str,
    config: Config,
    prepared: Prepared,
    parameters: int,
    overrides: tuple[str, ...],
) -> None:
    inputs = dataset_inputs(prepared.dataset, prepared.split)
    start_run(
        tracker,
        key=key,
        name=name,
        config=config.run,
        params={"model.parameters": parameters, "train.seed": config.train.seed},
        tags={
            **provenance_tags(prepared.dataset, prepared.split, config),
            **input_tags(inputs),
            **config.tracking.tags,
            "fmnist.role": "training",
            "train.command": command(overrides),
        },
        started_at=time.time(),
        inputs=inputs,
        note=config.tracking.note,
    )


@contextmanager
def _ended(tracker: Tracker, key: str) -> Iterator[None]:
    """Leave no run open behind the block: FINISHED, KILLED by an interrupt, FAILED by an error."""
    try:
        yield
    except BaseException as error:
        # An error here must not hide the first one.
        with suppress(RunError):
            if tracker.is_open(key) and isinstance(error, KeyboardInterrupt):
                tracker.end(key, RunStatus.KILLED, at=time.time())
            elif tracker.is_open(key):
                end_failed(tracker, key, str(error), at=time.time())
        raise
    tracker.end(key, RunStatus.FINISHED, at=time.time())
