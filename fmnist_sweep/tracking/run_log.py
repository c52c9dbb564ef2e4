"""Logs one training to a tracker: the names of its params, metrics, tags and artifacts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.metrics import VALIDATION
from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.config.yaml_text import config_yaml
from fmnist_sweep.data import Dataset, Split
from fmnist_sweep.data.pools import Pool, pool_of
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.provenance import git_diff
from fmnist_sweep.tracking.tracker import REASON_TAG, DatasetInput, RunStart, RunStatus, Tracker
from fmnist_sweep.training.results import BEST_MODEL_FILE, RunResult

_AT_A_TIME = 4096  # images
CHECKPOINTS = "checkpoints"
BEST_MODEL_ARTIFACT = f"{CHECKPOINTS}/{BEST_MODEL_FILE}"
CONFIG_FILE, ENVIRONMENT_FILE = "config.yaml", "environment.json"
CUSTOM_BUILDER_TAG, CUSTOM_DATA_TAG = "python.build_model", "python.data"
"""Tag of runs whose networks or images came from Python, so that no config describes them."""


def start_run(
    tracker: Tracker,
    *,
    key: str,
    name: str,
    config: Callable[[], RunConfig],
    params: Callable[[], Mapping[str, object]],
    tags: Mapping[str, str],
    environment: Environment,
    started_at: float,
    parent_key: str | None = None,
    inputs: tuple[DatasetInput, ...] = (),
    note: str | None = None,
) -> None:
    """Start the run of one training and log its resolved config as `config.yaml` and its
    environment as `environment.json`. `config` and `params` are called only if written."""
    tracker.start(
        RunStart(
            key=key,
            name=name,
            started_at=started_at,
            parent_key=parent_key,
            params=params,
            tags={**environment_tags(environment), **tags},
            inputs=inputs,
            note=note,
        )
    )
    tracker.content(key, lambda: config_yaml(config()), CONFIG_FILE)
    log_environments(tracker, key, [environment])


def log_environments(tracker: Tracker, key: str, environments: Sequence[Environment]) -> None:
    """Log a run's environments, in the order in which it used them."""

    def text() -> str:
        return json.dumps([place.model_dump() for place in environments], indent=1) + "\n"

    tracker.content(key, text, ENVIRONMENT_FILE)


def log_git_diff(tracker: Tracker, key: str, place: int) -> None:
    """Log the differences between the tracked files and their commit, if there are any. `place`
    numbers the environments that a run goes on in, from 1."""
    diff = git_diff(Path.cwd())
    if diff is not None:
        tracker.content(key, lambda: diff, "git.diff" if place == 1 else f"git-{place}.diff")


def environment_tags(environment: Environment) -> dict[str, str]:
    """Return the most important facts of a run's environment as tags."""
    commit, numerics = environment.git_commit, environment.numerics
    return {
        "cpu": numerics.cpu,
        "train.threads": str(numerics.threads),
        **{f"version.{name}": version for name, version in numerics.versions.items()},
        **({} if commit is None else {"git.commit": commit}),
        **({"git.changed": "true"} if environment.git_changed else {}),
    }


def final_metrics(result: RunResult) -> dict[str, float]:
    """Return the metrics at the end of a training's last epoch, by their names in MLflow."""
    metrics = {
        "best_epoch": float(result.best_epoch),
        **result.of_test_set,
        "train_seconds": result.train_seconds,
    }
    return metrics | best_of(result) | _spreads(result)


def _spreads(result: RunResult) -> dict[str, float]:
    """Return the standard deviations over folds, by the metrics' names and `_std`."""
    names = [f"best_{name}" for name in result.best_metrics if name.startswith(VALIDATION)]
    found = {name: result.spread(name.removeprefix("best_")) for name in names}
    found |= {name: result.spread(name) for name in result.of_test_set}
    return {f"{name}_std": spread for name, spread in found.items() if spread is not None}


def best_of(result: RunResult) -> dict[str, float]:
    """Return the validation metrics of a training's best epoch, by their names in MLflow."""
    return {
        f"best_{name}": value
        for name, value in result.best_metrics.items()
        if name.startswith(VALIDATION)
    }


def log_metrics(tracker: Tracker, key: str, result: RunResult, *, at: float) -> None:
    """Log the metrics at the end of a training's last epoch, and the costs that were measured."""
    metrics = {**final_metrics(result), **result.costs}
    tracker.metrics(key, metrics, step=result.last_epoch, at=at)


def log_best_model(
    tracker: Tracker, key: str, best_model: Path, *, even_if_finished: bool = False
) -> None:
    """Log a training's best model; a missing file was logged before."""
    if best_model.exists():
        tracker.file(key, best_model, CHECKPOINTS, even_if_finished=even_if_finished)


def log_digests(tracker: Tracker, key: str, result: RunResult) -> None:
    """Log the digests of a training's last and best weights."""
    digests = {
        "weights.sha256": result.weights_sha256,
        "best_weights.sha256": result.best_weights_sha256,
    }
    tracker.tags(key, digests)


def end_failed(tracker: Tracker, key: str, reason: str, *, at: float) -> None:
    """End a run as FAILED, with the reason."""
    tracker.tags(key, {REASON_TAG: reason})
    tracker.end(key, RunStatus.FAILED, at=at)


def cut_off_failed(tracker: Tracker, key: str, reason: str, *, at: float) -> None:
    """End a run that was cut off by an error as FAILED, if it is still open."""
    tracker.cut_off(key, RunStatus.FAILED, without_secrets(reason), at=at)


def provenance_tags(dataset: Dataset, split: Split, config: RunConfig) -> dict[str, str]:
    """Return tags that describe a run's data, split and config."""
    return {
        "data.name": dataset.name,
        "data.sha256": dataset.sha256,
        "split.sha256": split.sha256,
        "split.scheme": split.scheme,
        **{f"split.{name}_images": str(count) for name, count in split.images.items()},
        "train.precision": config.train.precision,
        **({"split.folds": str(len(split.folds))} if split.folds else {}),
        **({"data.synthetic": "true"} if dataset.synthetic else {}),
    }


def dataset_inputs(dataset: Dataset, split: Split) -> tuple[DatasetInput, ...]:
    """Return the sets of the split, each with a digest of all its images and labels."""
    sets: dict[str, tuple[Pool, NDArray[np.int64]]] = dict(split.parts)
    official = split.official_set(dataset)
    if official is not None:
        sets["official_test"] = ("official", np.arange(len(official[1])))
    return tuple(
        DatasetInput(
            context=context,
            name=f"{dataset.name}-{context}",
            sha256=_digest(*pool_of(dataset, pool), rows),
            images=len(rows),
            image_shape=dataset.image_shape,
            classes=dataset.classes,
            source=dataset.source,
        )
        for context, (pool, rows) in sets.items()
    )


def input_tags(inputs: tuple[DatasetInput, ...]) -> dict[str, str]:
    """Return the sets' full digests; MLflow truncates those of dataset inputs to 36 characters."""
    return {f"data.{given.context}.sha256": given.sha256 for given in inputs}


def _digest(images: NDArray[np.uint8], labels: NDArray[np.int64], rows: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(f"{(len(rows), *images.shape[1:])}".encode())
    for start in range(0, len(rows), _AT_A_TIME):  # they may be mapped, and larger than memory
        digest.update(np.ascontiguousarray(images[rows[start : start + _AT_A_TIME]]).data)
    digest.update(np.ascontiguousarray(labels[rows].astype("<i8")).data)
    return digest.hexdigest()
