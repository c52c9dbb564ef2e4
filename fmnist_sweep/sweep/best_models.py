"""A sweep's best models, from where they are to be had: its folder, or MLflow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_sweep.config.schema import Config, TrackingConfig
from fmnist_sweep.errors import FmnistSweepError, NoStore, StoreVersion
from fmnist_sweep.journal.records import Begun
from fmnist_sweep.masking import MASK
from fmnist_sweep.sweep.trial_folders import trial_folder
from fmnist_sweep.tracking.keys import sweep_key, trial_key
from fmnist_sweep.tracking.opening import open_reader
from fmnist_sweep.tracking.run_log import BEST_MODEL_ARTIFACT
from fmnist_sweep.training.results import BEST_MODEL_FILE
from fmnist_sweep.workspace import Workspace

if TYPE_CHECKING:
    from fmnist_sweep.tracking.mlflow.reader import MlflowReader

_log = logging.getLogger(__name__)


def best_model_files(
    config: Config,
    begun: Begun,
    sweep: Path,
    number: int,
    fetch_into: Path,
    say: Callable[[str], None] = _log.warning,
) -> Iterator[Path]:
    """Yield the files that a trial's best model may be read from, each where there is one: that in
    the sweep's folder, then one fetched from MLflow. `say` is called with the reason why none
    can be fetched."""
    local = trial_folder(sweep, number) / BEST_MODEL_FILE
    if local.exists():
        yield local
    try:
        yield from _fetched(config, begun, number, fetch_into)
    except (FmnistSweepError, OSError) as error:
        if isinstance(error, StoreVersion) and config.tracking.enabled:
            raise  # what the user can mend, and has to, before anything is fetched
        say(f"trial {number}: its best model cannot be fetched: {error}")


def _fetched(config: Config, begun: Begun, number: int, folder: Path) -> Iterator[Path]:
    tracking = config.tracking
    if MASK in (tracking.uri or ""):  # what is kept of an address has no password
        tracking = tracking.model_copy(update={"uri": None})
    try:
        reader = _reader(tracking)
    except NoStore:
        if tracking.uri is None:
            raise
        # The config keeps the address that it was given, which a workspace that moved left behind.
        reader = _reader(tracking.model_copy(update={"uri": None}))
    # In whichever experiment: the config may have named another one since.
    key = trial_key(sweep_key(begun.name, begun.at), number)
    for run in reader.runs_of_key(reader.experiments(), key):
        fetched = reader.file(run, BEST_MODEL_ARTIFACT, folder)
        if fetched is not None:
            _log.info("trial %d: its best model was fetched from MLflow", number)
            yield fetched


def _reader(tracking: TrackingConfig) -> MlflowReader:
    return open_reader(tracking, Workspace.here())
