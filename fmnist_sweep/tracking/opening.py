"""Opens the tracker, reader, cleaner or registry of a config. Imports MLflow only if needed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_sweep.masking import without_secrets
from fmnist_sweep.provenance import command
from fmnist_sweep.runtime import quiet_mlflow
from fmnist_sweep.tracking.mlflow.moved_store import StoreInUse, open_at_home
from fmnist_sweep.tracking.mlflow.store import (
    database_of,
    is_server,
    local_store_uri,
    prepare_store,
    require_store,
    resolve_tracking_uri,
)
from fmnist_sweep.tracking.mlflow.store_version import is_database, require_installed_version
from fmnist_sweep.tracking.tracker import NoTracker, Tracker
from fmnist_sweep.workspace import Workspace

if TYPE_CHECKING:
    from fmnist_sweep.config.schema import TrackingConfig
    from fmnist_sweep.tracking.mlflow.cleaner import MlflowCleaner
    from fmnist_sweep.tracking.mlflow.reader import MlflowReader
    from fmnist_sweep.tracking.mlflow.registry import MlflowRegistry

SWEEPS, TRAININGS = "fmnist-sweep", "fmnist-train"
"""The default experiments."""


def open_tracker(config: TrackingConfig, workspace: Workspace, experiment: str) -> Tracker:
    """Return the config's tracker, with its store and experiment ready.

    `experiment`: the name if the config has none. Raises ConfigError for an invalid URI or a store
    of another version of MLflow, RunError for an unreachable store.
    """
    if not config.enabled:
        return NoTracker()
    uri = tracking_uri(config, workspace)
    artifact_root = prepare_store(uri, workspace.root)
    held = _checked(uri, workspace.root, may_be_new=True)
    quiet_mlflow()
    from fmnist_sweep.tracking.mlflow.tracker import MlflowTracker

    name = experiment if config.experiment is None else config.experiment
    return MlflowTracker(uri, name, artifact_root, held)


def experiments_to_read(config: TrackingConfig) -> list[str]:
    """Return the experiments to search for runs: the config's, or both default ones."""
    return [TRAININGS, SWEEPS] if config.experiment is None else [config.experiment]


def open_reader(config: TrackingConfig, workspace: Workspace) -> MlflowReader:
    """Return a reader for the config's store; nothing is created.

    Raises as `_existing` does.
    """
    uri = _existing(config, workspace)
    from fmnist_sweep.tracking.mlflow.reader import MlflowReader

    return MlflowReader(uri)


def open_cleaner(config: TrackingConfig, workspace: Workspace) -> MlflowCleaner:
    """Return a cleaner, which deletes runs from the config's store.

    Raises as `_existing` does.
    """
    uri = _existing(config, workspace)
    from fmnist_sweep.tracking.mlflow.cleaner import MlflowCleaner

    # A database elsewhere may be another workspace's, whose files must not be deleted.
    return MlflowCleaner(uri, (workspace.root, workspace.mlruns))


def open_registry(config: TrackingConfig, workspace: Workspace) -> MlflowRegistry:
    """Return the model registry of the config's store.

    Raises as `_existing` does.
    """
    uri = _existing(config, workspace)
    from fmnist_sweep.tracking.mlflow.registry import MlflowRegistry

    return MlflowRegistry(uri)


def _existing(config: TrackingConfig, workspace: Workspace) -> str:
    """Return the URI of the config's store, checked and ready to be opened by MLflow.

    Raises NoStore if it does not exist, ConfigError for one of another version of MLflow, RunError
    for an unreachable one.
    """
    uri = tracking_uri(config, workspace)
    require_store(uri)
    held = _checked(uri, workspace.root, may_be_new=False)
    if held is not None:
        held.close()
    quiet_mlflow()
    return uri


def _checked(uri: str, root: Path, *, may_be_new: bool) -> StoreInUse | None:
    """Check that MLflow can open a store without migration, and that its paths are this
    workspace's."""
    if not is_database(uri):
        return None
    database = database_of(uri)
    require_installed_version(uri, database, may_be_new=may_be_new)
    if database is None:
        return None
    held = open_at_home(database, root)
    quiet_mlflow()
    from fmnist_sweep.tracking.mlflow.calls import forget_artifact_folders

    forget_artifact_folders()
    return held


def tracking_uri(config: TrackingConfig, workspace: Workspace) -> str:
    """Return the store's URI: from the config, the environment, or the workspace's default.

    Raises ConfigError for an invalid URI.
    """
    return resolve_tracking_uri(config.uri, workspace.tracking_uri, workspace.root)


def ui_command(config: TrackingConfig, workspace: Workspace) -> str | None:
    """Return how to view tracked runs: a command or a server's address; None without tracking.

    Raises ConfigError for an invalid URI.
    """
    if not config.enabled:
        return None
    uri = tracking_uri(config, workspace)
    if uri == local_store_uri(workspace.root):
        return f"{command(())} ui"
    if is_server(uri):
        return without_secrets(uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(without_secrets(uri))}"
