"""Converts this package's runs, values and datasets to MLflow's entities."""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Dataset, InputTag
from mlflow.entities import DatasetInput as MlflowDatasetInput
from mlflow.types import Schema, TensorSpec

from fmnist_sweep.tracking.tracker import DatasetInput, RunStart, View

KEY_TAG = "fmnist.key"
PARENT_TAG = "mlflow.parentRunId"
MAX_DIGEST = 36
_MAX_PARAM = 6000
_MAX_TAG = 8000
_KEPT_OF_A_LONG_VALUE = 500


def run_tags(run: RunStart, parent_id: str | None) -> dict[str, str]:
    """Return all initial tags of a run: the caller's and those that MLflow's UI uses."""
    tags = {
        "mlflow.user": _user(),
        "mlflow.source.name": "python -m fmnist_sweep",
        "mlflow.source.type": "LOCAL",
        **run.tags,
        KEY_TAG: run.key,
    }
    if parent_id is not None:
        tags[PARENT_TAG] = parent_id
    if run.note is not None:
        tags["mlflow.note.content"] = run.note
    return tag_texts(tags)


def tag_texts(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags with values shortened to MLflow's limit."""
    return {name: _fitted(value, _MAX_TAG) for name, value in tags.items()}


def param_texts(params: Mapping[str, object]) -> dict[str, str]:
    """Return params as text, as in YAML: null, true, 0.001, [3, 5], a plain string."""
    return {name: _fitted(_text(value), _MAX_PARAM) for name, value in params.items()}


def dataset_input(given: DatasetInput) -> MlflowDatasetInput:
    """Return a set of the split as MLflow's dataset input.

    The digest is truncated to MLflow's limit of 36 characters; the profile, which the UI shows line
    by line, has it in full.
    """
    features = TensorSpec(np.dtype(np.uint8), (-1, *given.image_shape))
    targets = TensorSpec(np.dtype(np.int64), (-1,))
    schema = TensorDatasetSchema(Schema([features]), Schema([targets]))
    profile = {
        "images": given.images,
        "image_shape": list(given.image_shape),
        "classes": given.classes,
        "sha256": given.sha256,
    }
    source_type, source = _source(given.source)
    dataset = Dataset(
        name=given.name,
        digest=given.sha256[:MAX_DIGEST],
        source_type=source_type,
        source=json.dumps(source),
        schema=json.dumps(schema.to_dict()),
        profile=json.dumps(profile),
    )
    return MlflowDatasetInput(dataset, [InputTag("mlflow.data.context", given.context)])


def view_tag(view: View, at_ms: int) -> tuple[str, str]:
    """Return a view as a tag of its experiment: MLflow's UI lists these under `Views`, and opens
    one given in a link as `viewStateShareKey`. `at_ms` is the time of creation in milliseconds."""
    columns = [_column(name) for name in view.columns]
    state: dict[str, object] = {
        "selectedColumns": columns,
        "columnOrder": [*_FIRST_COLUMNS, *columns],
        "columnWidths": {column: _width(column) for column in columns},
        "searchFilter": view.filter,
        "chartsSearchFilter": view.charts,
        "runsHiddenMode": "FIRST_20_RUNS",
    }
    if view.best_first is not None:
        best_first = _column(f"metrics.{view.best_first}")
        state |= {"orderByKey": best_first, "orderByAsc": view.lowest}
    saved = {"name": view.name, "createdAt": at_ms, "updatedAt": at_ms, "state": json.dumps(state)}
    return f"mlflow.sharedViewState.{view.key}", json.dumps(saved)


# The check box, the name and the start time, as the UI's table names them.
_FIRST_COLUMNS = ("1", "attributes.`Run Name`", "runDateAndNestInfo")


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"


def _width(column: str) -> int:
    """Return the width in pixels at which a column's whole name is readable."""
    return max(80, 8 * len(column.partition("`")[2]) + 24)


def _text(value: object) -> str:
    if value is None or isinstance(value, bool | list | tuple | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _fitted(text: str, limit: int) -> str:
    """Return the text, or, if it exceeds MLflow's limit, its beginning with length and digest."""
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:_KEPT_OF_A_LONG_VALUE]}… [{len(text)} characters, sha256 {digest}]"


def _source(source: str) -> tuple[str, dict[str, object]]:
    """Return MLflow's name for a kind of source, and the source in the form of that kind."""
    if urlsplit(source).scheme in ("http", "https"):
        return "http", {"url": source}
    if Path(source).is_absolute():
        return "local", {"uri": source}
    return "code", {"tags": {"mlflow.source.name": source}}


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # users in containers may have no name
        return "unknown"
