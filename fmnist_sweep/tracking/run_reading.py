"""Reads what `run_log.py` wrote about a training: its config, results and environments."""

from __future__ import annotations

import json

from pydantic import ValidationError

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.config.yaml_text import read_config_yaml
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.reproduction import Outcome
from fmnist_sweep.tracking.mlflow.reader import MlflowReader, SeenRun
from fmnist_sweep.tracking.run_log import (
    CONFIG_FILE,
    CUSTOM_BUILDER_TAG,
    CUSTOM_DATA_TAG,
    ENVIRONMENT_FILE,
)

_IN_PYTHON = {CUSTOM_BUILDER_TAG: "build_model", CUSTOM_DATA_TAG: "data"}


def config_of(reader: MlflowReader, run: SeenRun, *, of_sweep: bool = False) -> RunConfig:
    """Return the config that a run was trained with, or `of_sweep` the one that trials change.

    Raises:
        ConfigError: the run has none, or one of another version, or no config describes it fully.
    """
    given = [argument for tag, argument in _IN_PYTHON.items() if tag in run.tags]
    if given:
        raise ConfigError(
            f"run {run.name}: its {' and '.join(given)} came from Python; no config describes that"
        )
    text = reader.text(run, CONFIG_FILE)
    if text is None:
        raise ConfigError(
            f"run {run.name} ({run.id}): has no {CONFIG_FILE}; was it created by this program?"
        )
    try:
        return read_config_yaml(text, of_sweep=of_sweep)
    except ConfigError as error:
        raise ConfigError(f"run {run.name}, {CONFIG_FILE}: {error}") from error


def outcome_of(run: SeenRun) -> Outcome | None:
    """Return a training's results, None if it did not finish."""
    tags = run.tags
    digests = ("data.sha256", "split.sha256", "weights.sha256", "best_weights.sha256")
    sets = ("train", "validation", "test")
    complete = all(name in tags for name in digests) and "test_accuracy" in run.metrics
    if not complete or any(f"split.{name}_images" not in tags for name in sets):
        return None
    return Outcome(
        run.metrics,
        {name: int(tags[f"split.{name}_images"]) for name in sets},
        **{name.replace(".", "_"): tags[name] for name in digests},
    )


def environments_of(reader: MlflowReader, run: SeenRun) -> list[Environment]:
    """Return a run's environments, in the order in which it used them.

    Raises:
        ConfigError: its record of them is of another version.
    """
    text = reader.text(run, ENVIRONMENT_FILE)
    if text is None:
        return []
    try:
        return [Environment.model_validate(plain) for plain in json.loads(text)]
    except (TypeError, ValueError, ValidationError) as error:
        raise ConfigError(
            f"run {run.name}: its {ENVIRONMENT_FILE} is of another version"
        ) from error
