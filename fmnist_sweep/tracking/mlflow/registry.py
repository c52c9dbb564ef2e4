"""MLflow's model registry: winners as versions of a registered model, the best with alias
`champion`."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from fmnist_sweep.errors import RunError
from fmnist_sweep.tracking.mlflow.calls import one_line_errors, quiet_logging, quoted
from fmnist_sweep.tracking.registered import (
    CHAMPION,
    CLASSES_TAG,
    WEIGHTS_TAG,
    Classifier,
    Version,
    Winner,
)

_NETWORK = "best.keras"
# The code of a registered model; importing it would run it.
_SERVED_MODEL = Path(__file__).with_name("served_model.py")


class MlflowRegistry:
    """The registry of the store at a URI.

    Errors of MLflow raise RunError, in one line.
    """

    def __init__(self, uri: str) -> None:
        quiet_logging()
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def registered(self, name: str, run_id: str, best_weights_sha256: str) -> Version | None:
        """Return the latest version that a run registered with these weights, None if there is
        none."""
        found = [
            version
            for version in self._versions(name, f"run_id = {quoted(run_id)}")
            if version.tags.get(WEIGHTS_TAG) == best_weights_sha256
        ]
        return max(found, key=lambda version: int(version.number), default=None)

    def register(self, name: str, run_id: str, winner: Winner) -> Version:
        """Log a winner as a model of a run, and register it."""
        with self._calling(f"register a model as {name!r}"):
            model = self._log(name, run_id, winner)
            self._create(name)
            made = self._client.create_model_version(
                name,
                source=self._source(model),
                run_id=run_id,
                tags=dict(winner.tags),
                description=winner.description,
                model_id=model.model_id,
            )
            return _version(made)

    def champion(self, name: str) -> Version | None:
        """Return the version with the alias `champion`, None if there is none."""
        try:
            with self._calling(f"look up the champion of {name!r}"):
                return _version(self._client.get_model_version_by_alias(name, CHAMPION))
        except Exception as error:
            cause = error.__cause__
            codes = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no model; no alias
            if isinstance(cause, MlflowException) and cause.error_code in codes:
                return None
            raise

    def crown(self, version: Version) -> None:
        """Move the alias `champion` to a version."""
        with self._calling(f"make version {version.number} of {version.name!r} the champion"):
            self._client.set_registered_model_alias(version.name, CHAMPION, version.number)

    def of_sweep(self, sweep: str) -> Version | None:
        """Return the latest version registered by a sweep, None if there is none."""
        found = self._versions(None, f"tags.`sweep.name` = {quoted(sweep)}")
        return max(found, key=lambda version: int(version.number), default=None)

    def names(self) -> list[str]:
        """Return the names of the registered models."""
        with self._calling("list the registered models"):
            return [found.name for found in self._client.search_registered_models()]

    def network(self, version: Version, folder: Path) -> Path:
        """Download a version's `.keras` file into a folder."""
        with self._calling(f"fetch version {version.number} of {version.name!r}"):
            return Path(self._fetch(version, f"/artifacts/{_NETWORK}", str(folder)))

    def load(self, version: Version) -> Classifier:
        """Load a version as a serving process does."""
        with (
            self._calling(f"load version {version.number} of {version.name!r}"),
            tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as folder,
        ):
            fetched = self._fetch(version, "", folder)
            try:
                with _no_advice():
                    loaded = mlflow.pyfunc.load_model(fetched)
            except (KeyError, TypeError, ValueError) as error:  # raised by Keras
                reason = str(error).strip().partition("\n")[0]
                raise RunError(
                    f"version {version.number} of {version.name!r} cannot be loaded: {reason}"
                ) from error
            schema = loaded.metadata.get_input_schema()
        from fmnist_sweep.training.calculation import (
            usual_calculation,  # other commands do not need TensorFlow
        )

        shape = () if schema is None else getattr(schema.inputs[0], "shape", ())
        if len(shape) not in (3, 4) or min(shape[1:]) < 1:
            raise RunError(
                f"version {version.number} of {version.name!r} has no image size in its signature; "
                "allowed: models of (n, height, width[, channels])"
            )
        height, width, channels = (*shape[1:], 1)[:3]
        return Classifier((height, width, channels), usual_calculation()(loaded.predict))

    def _log(self, name: str, run_id: str, winner: Winner) -> LoggedModel:
        run = self._client.get_run(run_id)
        model = self._left_by_a_kill(run.info.experiment_id, name, run_id, winner)
        if model is None:
            model = self._saved(run.info.experiment_id, name, run_id, winner)
        outputs = run.outputs.model_outputs if run.outputs is not None else []
        if model.model_id not in {output.model_id for output in outputs}:
            self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return model

    def _saved(self, experiment: str, name: str, run_id: str, winner: Winner) -> LoggedModel:
        with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place:
            folder = Path(place) / "model"
            _save(folder, Path(place), winner)
            model = self._client.create_logged_model(
                experiment, name, source_run_id=run_id, tags=dict(winner.tags), model_type="pyfunc"
            )
            self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return model

    def _source(self, model: LoggedModel) -> str:
        """Return the source that a version is registered from."""
        if self._uri.startswith("http"):
            return f"models:/{model.model_id}"  # servers reject paths
        # For a local store, that URI would be looked up in MLflow's current store, which may
        # differ.
        return str(model.artifact_location)

    def _fetch(self, version: Version, path: str, folder: str) -> str:
        place = self._client.get_model_version_download_uri(version.name, version.number)
        fetched: str = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{place}{path}", dst_path=folder, tracking_uri=self._uri
        )
        return fetched

    def _left_by_a_kill(
        self, experiment: str, name: str, run_id: str, winner: Winner
    ) -> LoggedModel | None:
        """Delete models left incomplete by a kill; return one that is complete but not
        registered."""
        found = None
        condition = f"source_run_id = {quoted(run_id)}"
        for model in self._client.search_logged_models([experiment], condition):
            if model.status != LoggedModelStatus.READY:
                self._client.delete_logged_model(model.model_id)
            elif model.name == name and all(
                model.tags.get(tag) == winner.tags.get(tag) for tag in (WEIGHTS_TAG, CLASSES_TAG)
            ):
                files = self._client.list_logged_model_artifacts(model.model_id)
                found = model if any(file.path == "MLmodel" for file in files) else found
        return found

    def _create(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _versions(self, name: str | None, condition: str) -> list[Version]:
        with self._calling("search for registered models"):
            found = self._client.search_model_versions(condition)
        return [_version(made) for made in found if name in (None, made.name)]

    def _calling(self, doing: str) -> AbstractContextManager[None]:
        return one_line_errors(doing, self._uri)


def _save(folder: Path, beside: Path, winner: Winner) -> None:
    network, classes = beside / _NETWORK, beside / "classes.json"
    network.write_bytes(winner.network.read_bytes())
    classes.write_text(json.dumps(winner.class_names), encoding="utf-8")
    height, width, channels = winner.image_shape
    shape = (height, width) if channels == 1 else winner.image_shape
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *shape))]),
        outputs=Schema([ColSpec(DataType.float, name) for name in winner.class_names]),
    )
    with _no_advice():
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(_SERVED_MODEL),
            artifacts={"network": str(network), "classes": str(classes)},
            signature=signature,
            input_example=winner.example.reshape(1, *shape),
            pip_requirements=winner.requirements,
        )


_ADVICE = ("type hints to the `predict` method", "Any type hint is inferred as AnyType")


@contextmanager
def _no_advice() -> Iterator[None]:
    """Suppress MLflow's advice about type hints, which would not replace the signature."""
    # MLflow sets its own filters around that warning; a filter set here would have no effect.
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")  # otherwise `-W error` would raise it
        yield
    for one in told:
        if not any(advice in str(one.message) for advice in _ADVICE):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _version(made: ModelVersion) -> Version:
    return Version(made.name, str(made.version), dict(made.tags))
