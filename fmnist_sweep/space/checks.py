"""Checks a search space before any trial; each error is one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fmnist_sweep.config.messages import show, unknown_key
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.config.tuner_schema import NAMES_WITHOUT_EPOCHS
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.space.domains import (
    Choice,
    Domain,
    Fixed,
    FloatRange,
    IntRange,
)
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.space.space import BLOCK_LISTS, VARIANT, Leaf, Space, is_at_or_below

_NOT_SEARCHED = ("train.threads", "train.monitor", "train.stop_epoch")


def check_space(space: Space, config: Config) -> None:
    """Reject a space that cannot be searched.

    Raises:
        ConfigError: names the path and what is allowed there.
    """
    _check_conditions(space)
    for where, path in _searched_paths(space):
        check_searchable(where, path, config.run)
        if config.epochs_set_by is not None and path in ("train.epochs", "train.steps"):
            raise ConfigError(
                f"{where}: {config.epochs_set_by} sets the epochs itself; allowed: scheduler=full "
                f"with tuner={', '.join(NAMES_WITHOUT_EPOCHS)}"
            )
    for name, overrides in space.variants.items():
        for path in overrides:
            _check_only_in_variant(f"variants.{name}.{path}", path, space)
    _check_values(space, config.run)


def check_searchable(where: str, path: str, base: RunConfig) -> None:
    """Reject a path that the config lacks, or that must not vary within a sweep.

    Raises:
        ConfigError: its message begins with `where`.
    """
    holds_unsearched = any(is_at_or_below(key, (path,)) for key in _NOT_SEARCHED)
    if (
        not is_at_or_below(path, ("model", "train"))
        or is_at_or_below(path, _NOT_SEARCHED)
        or holds_unsearched
    ):
        raise ConfigError(
            f"{where}: cannot be searched; allowed: model.*, train.* "
            f"(without {', '.join(_NOT_SEARCHED)})"
        )
    if path.removesuffix(".count") in BLOCK_LISTS:
        return
    given = base.model_dump()
    node: Any = given
    keys: list[str | int] = [int(key) if key.isdigit() else key for key in path.split(".")]
    for depth, key in enumerate(keys):
        if isinstance(node, list) and isinstance(key, int):
            # A block beyond those of the base config has the keys of the defaults.
            node = given["model"]["conv_defaults" if keys[1] == "conv_blocks" else "fc_defaults"]
        elif isinstance(node, list):
            place = ".".join(map(str, keys[:depth]))
            raise ConfigError(f"{where}: {place} has no {key}; allowed: count, a block's number")
        elif isinstance(node, dict) and key in node:
            node = node[str(key)]
        else:
            raise ConfigError(f"{where}: {unknown_key(keys, None, given).partition(': ')[2]}")


def _searched_paths(space: Space) -> Iterator[tuple[str, str]]:
    for leaf in space.leaves:
        if leaf.path != VARIANT:
            yield f"space.{leaf.written}", leaf.path
    for name, overrides in space.variants.items():
        for path in overrides:
            yield f"variants.{name}.{path}", path


def _check_conditions(space: Space) -> None:
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    for leaf in space.leaves:
        for condition in leaf.conditions:
            where = f"space.{leaf.written}.when.{condition.path}"
            if condition.path not in domains:
                raise ConfigError(f"{where}: is not searched; allowed: {', '.join(domains)}")
            domain = domains[condition.path]
            if isinstance(domain, FloatRange):
                raise ConfigError(f"{where}: is a float; allowed: a choice, int or fixed parent")
            never = [value for value in condition.values if domain.index_of(value) is None]
            if never or not condition.values:
                raise ConfigError(
                    f"{where}={show(never[0] if never else [])}: never holds; allowed: {domain}"
                )


def _check_only_in_variant(where: str, path: str, space: Space) -> None:
    """Reject a path set by both a variant and the space, because one value would be lost."""
    for leaf in space.leaves:
        if is_at_or_below(leaf.path, (path,)) or is_at_or_below(path, (leaf.path,)):
            raise ConfigError(
                f"{where}: the space searches {leaf.path} too; allowed: only one of the two"
            )
        for blocks in BLOCK_LISTS:
            inside = is_at_or_below(leaf.path, (blocks,)) and is_at_or_below(path, (blocks,))
            if inside and (path == f"{blocks}.count" or leaf.path == f"{blocks}.count"):
                raise ConfigError(
                    f"{where}: the space searches {leaf.path}, which determines the number of "
                    "blocks; allowed: both in the space, or both in the variants"
                )


def _check_values(space: Space, base: RunConfig) -> None:
    """Reject values that the config rejects at both of two tried points: with only the parents
    changed, and with the first values of all other leaves."""
    by_path = {leaf.path: leaf for leaf in space.leaves}
    for leaf in space.leaves:
        if leaf.path == VARIANT:
            continue
        parents = _parents_of(leaf, by_path)
        for value in _extremes(leaf.domain):
            alone = {**parents, leaf.path: value}
            reason = _why_refused(base, space.overrides(alone))
            if reason and _why_refused(base, space.overrides(_amid_first_values(space, alone))):
                raise ConfigError(f"space.{leaf.written}: {reason}")
    for name, overrides in space.variants.items():
        if reason := _why_refused(base, overrides):
            raise ConfigError(f"variants.{name}: {reason}")


def _why_refused(base: RunConfig, overrides: Mapping[str, Any]) -> str | None:
    try:
        apply_overrides(base, overrides)
    except ConfigError as error:
        return str(error)
    return None


def _parents_of(leaf: Leaf, by_path: Mapping[str, Leaf]) -> dict[str, Any]:
    """Return values of the parents for which a leaf exists."""
    values: dict[str, Any] = {}
    for condition in leaf.conditions:
        values |= _parents_of(by_path[condition.path], by_path)
        values[condition.path] = condition.values[0]
    return values


def _amid_first_values(space: Space, given: Mapping[str, Any]) -> dict[str, Any]:
    point = dict(given)
    for leaf in space.leaves:
        if leaf.path not in point and leaf.exists_at(point):
            point[leaf.path] = _extremes(leaf.domain)[0]
    return point


def _extremes(domain: Domain) -> tuple[Any, ...]:
    match domain:
        case IntRange(low, high) | FloatRange(low, high):
            return (low, high)
        case Choice(values):
            return values
        case Fixed(value):
            return (value,)
