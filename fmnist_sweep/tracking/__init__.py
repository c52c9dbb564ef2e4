"""Tracking: what a run did, kept in MLflow. MLflow is imported when a tracker is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_sweep.environment import quiet_mlflow
from fmnist_sweep.tracking.store import prepare_store, resolve_tracking_uri
from fmnist_sweep.tracking.tracker import NoTracker, Tracker

if TYPE_CHECKING:
    from fmnist_sweep.config.schema import TrackingConfig


def open_tracker(
    config: TrackingConfig, *, root: Path, environment_uri: str | None, experiment: str
) -> Tracker:
    """Return the tracker that the config asks for, its store and its experiment ready.

    `root`: the folder of `mlruns/`. `experiment`: the name where the config has none.
    Raises ConfigError for a URI that cannot be used, RunError for a store out of reach.
    """
    if not config.enabled:
        return NoTracker()
    uri = resolve_tracking_uri(config.uri, environment_uri, root)
    artifact_root = prepare_store(uri, root)
    quiet_mlflow()
    from fmnist_sweep.tracking.mlflow_tracker import MlflowTracker

    name = experiment if config.experiment is None else config.experiment
    return MlflowTracker(uri, name, artifact_root)
