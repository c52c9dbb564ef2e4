"""Overrides: dotted config paths mapped to values, applied to a base config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from fmnist_sweep.config.messages import one_line, show
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import ConfigError

_MARKERS = ("variant",)
"""Names that overrides carry for the reader; the values they stand for are listed beside them."""


def apply_overrides(base: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Return the base config with the overrides applied.

    `model.conv_blocks.count` (and `model.fc_layers.count`) shortens the list of blocks, or extends
    it with blocks of the defaults; a block number beyond the list extends it up to there.

    Raises:
        ConfigError: the result is not a valid config.
    """
    try:
        # Not sorted, because a section may come before a key inside it.
        return _remembered(_Same(base), json.dumps(overrides))
    except TypeError:  # a value that is not JSON; the schema rejects it by name
        return _applied(base, overrides)


@dataclass(frozen=True, eq=False)
class _Same:
    """A config compared by object identity."""

    config: RunConfig

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.config is self.config

    def __hash__(self) -> int:
        return id(self.config)


@lru_cache(maxsize=8)  # several callers ask for a trial's config in turn
def _remembered(base: _Same, overrides: str) -> RunConfig:
    return _applied(base.config, json.loads(overrides))


def _applied(base: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    plain = base.as_given()
    # Counts first: they determine which blocks the others can change.
    for path in sorted(overrides, key=lambda path: not path.endswith(".count")):
        if path not in _MARKERS:
            _set(plain, path, overrides[path])
    try:
        return RunConfig.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(one_line(error, plain)) from error


def straight_config(base: RunConfig, overrides: Mapping[str, Any], last_epoch: int) -> RunConfig:
    """Return the overrides as a single training that ends after `last_epoch`: `train.stop_epoch` is
    set if that is before the schedule's horizon, or if the budget is in steps.

    Raises:
        ConfigError: the result is not a valid config.
    """
    return ending_at(apply_overrides(base, overrides), last_epoch)


def refit_config(base: RunConfig, overrides: Mapping[str, Any], epochs: int) -> RunConfig:
    """Return the overrides as a single training of so many epochs on all images that are not test:
    nothing validates, nor stops it early.

    Raises:
        ConfigError: the result is not a valid config.
    """
    straight = straight_config(base, overrides, epochs)
    never = straight.train.early_stopping.model_copy(update={"patience": None})
    return with_train(straight, early_stopping=never)


def ending_at(config: RunConfig, last_epoch: int) -> RunConfig:
    """Return the config with its end after `last_epoch`, on the same schedule."""
    if last_epoch == config.train.epochs:
        return config
    return with_train(config, stop_epoch=last_epoch)


def with_train(config: RunConfig, **values: Any) -> RunConfig:
    """Return the config with other values in `train`, without validation."""
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping with its keys joined by dots; keys that contain dots are kept."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def value_at(config: RunConfig, path: str) -> tuple[bool, Any]:
    """Return whether the config has a path, and its value."""
    node: Any = config.model_dump()
    for key in path.split("."):
        if isinstance(node, list):
            if key == "count":
                return True, len(node)
            if not (key.isdigit() and int(key) < len(node)):
                return False, None
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            return False, None
    return True, node


def _set(plain: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    node: Any = plain
    for key in parents:
        if isinstance(node, list):
            node = _block(node, path, key)
        elif isinstance(node.get(key), dict | list):
            node = node[key]
        else:
            # A section written as a single value, such as an initializer's name; the schema rejects
            # values that are not sections.
            node[key] = {}
            node = node[key]
    if isinstance(node, list):
        if last != "count" or type(value) is not int or value < 0:
            raise ConfigError(
                f"{path}={show(value)}: must be count, a whole number of at least 0, or a key of "
                f"a block, as in {'.'.join(parents)}.0.dropout"
            )
        del node[value:]
        node.extend({} for _ in range(value - len(node)))
    else:
        node[last] = value


def _block(blocks: list[Any], path: str, key: str) -> Any:
    if not key.isdigit():
        raise ConfigError(f"{path}: {key} is not a key of a list; allowed: count, a block's number")
    blocks.extend({} for _ in range(int(key) + 1 - len(blocks)))
    if not isinstance(blocks[int(key)], dict):
        raise ConfigError(f"{path}: there is no block {key}; allowed: a block of keys")
    return blocks[int(key)]
