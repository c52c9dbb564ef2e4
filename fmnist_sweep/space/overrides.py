"""Overrides: config paths in dots, mapped to values, and what they make of a base config."""

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
"""Names that overrides carry for the reader; what they stand for is spelt out beside them."""


def apply_overrides(base: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    """Return the base config with those values in place of its own.

    `model.conv_blocks.count` (and `model.fc_layers.count`) cuts the list of blocks, or fills it
    up with blocks of the defaults; a number beyond the list fills it up to there.

    Raises:
        ConfigError: the result is no valid config.
    """
    try:
        # Not sorted: a section may come before what lies in it.
        return _remembered(_Same(base), json.dumps(overrides))
    except TypeError:  # a value that only Python has, which the schema will name
        return _applied(base, overrides)


@dataclass(frozen=True, eq=False)
class _Same:
    """A config that is told from others by which object it is."""

    config: RunConfig

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.config is self.config

    def __hash__(self) -> int:
        return id(self.config)


@lru_cache(maxsize=8)  # a trial's config is asked for by several, one after another
def _remembered(base: _Same, overrides: str) -> RunConfig:
    return _applied(base.config, json.loads(overrides))


def _applied(base: RunConfig, overrides: Mapping[str, Any]) -> RunConfig:
    plain = base.as_given()
    # Counts first: they decide which blocks there are for the others to change.
    for path in sorted(overrides, key=lambda path: not path.endswith(".count")):
        if path not in _MARKERS:
            _set(plain, path, overrides[path])
    try:
        return RunConfig.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(one_line(error, plain)) from error


def straight_config(base: RunConfig, overrides: Mapping[str, Any], last_epoch: int) -> RunConfig:
    """Return those overrides as one straight training to the end of `last_epoch`: where that is
    before the schedule's horizon, or where this is in steps, `train.stop_epoch` says so.

    Raises:
        ConfigError: the result is no valid config.
    """
    return ending_at(apply_overrides(base, overrides), last_epoch)


def ending_at(config: RunConfig, last_epoch: int) -> RunConfig:
    """Return the config with an end after that epoch, on the same schedule."""
    if last_epoch == config.train.epochs:
        return config
    return with_train(config, stop_epoch=last_epoch)


def with_train(config: RunConfig, **values: Any) -> RunConfig:
    """Return the config with other values in `train`, which are not validated again."""
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping with its keys joined by dots; keys with dots stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def value_at(config: RunConfig, path: str) -> tuple[bool, Any]:
    """Return whether the config has that path, and its value."""
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
            # A section that is written as a single value, such as an initialiser's name; what is
            # no section at all, the schema refuses.
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
        raise ConfigError(f"{path}: {key} is no key of a list; allowed: count, a block's number")
    blocks.extend({} for _ in range(int(key) + 1 - len(blocks)))
    if not isinstance(blocks[int(key)], dict):
        raise ConfigError(f"{path}: there is no block {key}; allowed: a block of keys")
    return blocks[int(key)]
