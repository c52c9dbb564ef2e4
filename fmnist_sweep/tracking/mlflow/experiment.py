"""Opens the experiment of the runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from fmnist_sweep.errors import ConfigError
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.tracking.mlflow.artifacts import require_artifacts

# The experiment's type, which the UI would ask for otherwise.
_KIND = {"mlflow.experimentKind": "custom_model_development"}


def open_experiment(client: MlflowClient, name: str, artifact_root: Path | None) -> str:
    """Return the ID of the experiment with a name; it is created if missing.

    `artifact_root`: the folder for a new experiment's artifacts; None: the server decides.
    Raises ConfigError for a deleted experiment, or if its artifacts cannot be written from here,
    RunError if their storage does not respond, and MLflow's own errors.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = None if artifact_root is None else _artifact_folder(artifact_root, name).as_uri()
        try:
            client.create_experiment(name, location, _KIND)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
        return open_experiment(client, name, artifact_root)  # the server chose the location
    if experiment.lifecycle_stage != "active":
        raise ConfigError(
            f"experiment {name!r} at {without_secrets(client.tracking_uri)} was deleted; restore "
            f"it with `mlflow experiments restore -x {experiment.experiment_id}` "
            "(with MLFLOW_TRACKING_URI set), or choose another tracking.experiment"
        )
    require_artifacts(name, experiment.artifact_location, client.tracking_uri)
    for tag, value in _KIND.items():
        if tag not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, tag, value)
    return experiment.experiment_id


def _artifact_folder(artifact_root: Path, experiment: str) -> Path:
    """Return the folder for an experiment's artifacts, named after it and always below the root."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in experiment)
    if safe != experiment or experiment.startswith("."):
        digest = hashlib.sha256(experiment.encode()).hexdigest()[:8]
        safe = f"{safe.lstrip('.')[:100]}-{digest}"
    return artifact_root.absolute() / safe
