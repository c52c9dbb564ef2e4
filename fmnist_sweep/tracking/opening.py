"""Opens what a config names: tracker, reader, cleaner, registry. MLflow is imported only then."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_sweep.environment import quiet_mlflow, without_secrets
from fmnist_sweep.provenance import command
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
"""The experiments that runs are filed under, where the config names none."""


def open_tracker(config: TrackingConfig, workspace: Workspace, experiment: str) -> Tracker:
    """Return the tracker that the config asks for, its store and its experiment ready.

    `experiment`: the name if the config has none.
    Raises ConfigError for a URI that cannot be used, or a store of another version of MLflow,
    RunError for a store out of reach.
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


def open_reader(config: TrackingConfig, workspace: Workspace) -> MlflowReader:
    """Return what reads the store that the config names; nothing is created.

    Raises as `_existing` does.
    """
    uri = _existing(config, workspace)
    from fmnist_sweep.tracking.mlflow.reader import MlflowReader

    return MlflowReader(uri)


def open_cleaner(config: TrackingConfig, workspace: Workspace) -> MlflowCleaner:
    """Return what deletes runs from the store that the config names.

    Raises as `_existing` does.
    """
    uri = _existing(config, workspace)
    from fmnist_sweep.tracking.mlflow.cleaner import MlflowCleaner

    # A database elsewhere may be another workspace's: what lies beside it is not ours to delete.
    return MlflowCleaner(uri, (workspace.root, workspace.mlruns))


def open_registry(config: TrackingConfig, workspace: Workspace) -> MlflowRegistry:
    """Return the model registry of the store that the config names.

    Raises as `_existing` does.
    """
    uri = _existing(config, workspace)
    from fmnist_sweep.tracking.mlflow.registry import MlflowRegistry

    return MlflowRegistry(uri)


def _existing(config: TrackingConfig, workspace: Workspace) -> str:
    """Return the URI of the store that the config names, ready to be opened by MLflow.

    Raises NoStore where there is no such store, ConfigError for one of another version of MLflow,
    RunError for one out of reach.
    """
    uri = tracking_uri(config, workspace)
    require_store(uri)
    held = _checked(uri, workspace.root, may_be_new=False)
    if held is not None:
        held.close()
    quiet_mlflow()
    return uri


def _checked(uri: str, root: Path, *, may_be_new: bool) -> StoreInUse | None:
    """Check that MLflow can open a store as it is, and that it names this workspace's folders."""
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
    """Return the address of the store: the config's, the environment's, or the workspace's own.

    Raises ConfigError for a URI that cannot be used.
    """
    return resolve_tracking_uri(config.uri, workspace.tracking_uri, workspace.root)


def ui_command(config: TrackingConfig, workspace: Workspace) -> str | None:
    """Return how to browse what was tracked: a command, a server's address, None where nothing is.

    Raises ConfigError for a URI that cannot be used.
    """
    if not config.enabled:
        return None
    uri = tracking_uri(config, workspace)
    if uri == local_store_uri(workspace.root):
        return f"{command(())} ui"
    if is_server(uri):
        return without_secrets(uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(without_secrets(uri))}"
