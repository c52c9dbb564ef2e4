"""Converts a composed config to a validated one."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ValidationError

from fmnist_sweep.config.bounds import check_references
from fmnist_sweep.config.messages import one_line
from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.tracking_names import check_tracking_names
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.config.upgrade import upgraded
from fmnist_sweep.errors import ConfigError


def load_config(raw: DictConfig) -> Config:
    """Resolve references, validate, and set the objective of a sweep.

    Raises:
        ConfigError: a reference without a target, or to another reference, a value that must be set
            (`???`), or anything that the schema rejects.
    """
    given = cast(dict[str, Any], OmegaConf.to_container(raw, resolve=False))
    check_references(given)
    try:
        plain = OmegaConf.to_container(raw, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: missing; write {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key}: {first_line(error)}") from error
    given = upgraded(cast(dict[str, Any], plain))
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        raise ConfigError(one_line(error, given)) from error
    check_tracking_names(config.tracking)
    return with_one_objective(config)


def with_one_objective(config: Config) -> Config:
    """Return a sweep's config with `sweep.objective`, the first of several, as its `train.monitor`
    too, so that "best" has one meaning; other configs are returned unchanged."""
    if not config.is_sweep:
        return config
    objective, sweep = config.sweep.objective, config.sweep
    if sweep.objectives is not None:
        objective = Objective(metric=sweep.objectives[0].metric)
        sweep = sweep.model_copy(update={"objective": objective})
    train = config.train.model_copy(update={"monitor": objective})
    return config.model_copy(update={"train": train, "sweep": sweep})


def first_line(error: BaseException | str) -> str:
    """Return the first line of a message; further lines are for debugging."""
    return str(error).strip().partition("\n")[0].strip()
