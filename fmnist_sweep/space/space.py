"""The search space: the leaves of the YAML tree, parents before the leaves that hang on them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.space.domains import (
    Choice,
    Domain,
    Fixed,
    FloatRange,
    IntRange,
    is_leaf,
    parse_domain,
)
from fmnist_sweep.space.overrides import apply_overrides, flatten, value_at

VARIANT = "variant"
BLOCK_LISTS = ("model.conv_blocks", "model.fc_layers")
_NOT_SEARCHED = ("train.threads", "train.monitor", "train.stop_epoch")


@dataclass(frozen=True)
class Condition:
    """A leaf exists only where its parent has one of these values."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Leaf:
    """One searched value. All of `conditions` must hold for it to exist."""

    path: str
    domain: Domain
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Space:
    """What a sweep searches. `values`, everywhere, maps the paths of the leaves that exist at a
    point to their values; `overrides` maps config paths, a variant's among them."""

    leaves: tuple[Leaf, ...]
    variants: Mapping[str, Mapping[str, Any]]

    def overrides(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a point changes in the base config, the variant by name and in full."""
        changed = dict(values)
        if VARIANT in values:
            changed |= self.variants[values[VARIANT]]
        return changed

    def pinned(self, base: RunConfig, keys: tuple[str, ...]) -> tuple[Space, list[str]]:
        """Fix the leaves at or below these config keys to the base config's value.

        Returns:
            The narrower space, and the paths that are no longer searched.
        """
        leaves, pinned = [], []
        for leaf in self.leaves:
            if not any(leaf.path == key or leaf.path.startswith(key + ".") for key in keys):
                leaves.append(leaf)
                continue
            pinned.append(leaf.path)
            found, value = value_at(base, leaf.path)
            if found:
                leaves.append(replace(leaf, domain=Fixed(value)))
        return Space(tuple(leaves), self.variants), pinned


def read_space(config: Config) -> Space:
    """Read `space` and `variants` of a config.

    Raises:
        ConfigError: a path that the config lacks or that may not be searched, an empty range,
            a value that the config would refuse, a `when` that cannot hold or goes in a circle.
    """
    tree = config.space or {}
    for key in tree:
        if key not in ("model", "train"):
            raise ConfigError(f"space.{key}: cannot be searched; allowed: model, train")
    base = config.run
    variants = {name: flatten(given) for name, given in (config.variants or {}).items()}
    leaves = [leaf for key in tree for leaf in _read(tree[key], key, base, ())]
    if variants:
        leaves.insert(0, Leaf(VARIANT, Choice(tuple(variants))))
    space = Space(_parents_first(leaves), variants)
    _check_conditions(space)
    _check_paths(space, config)
    _check_values(space, base)
    return space


def _read(
    node: Any, path: str, base: RunConfig, conditions: tuple[Condition, ...]
) -> Iterator[Leaf]:
    if is_leaf(node):
        domain = parse_domain(f"space.{path}", node)
        yield Leaf(path, domain, conditions + _read_when(path, node.get("when")))
    elif not isinstance(node, Mapping):
        raise ConfigError(
            f"space.{path}={node}: must be a section, or a leaf with int, float, choice or fixed"
        )
    elif path in BLOCK_LISTS:
        yield from _read_blocks(node, path, base, conditions)
    else:
        for key, child in node.items():
            yield from _read(child, f"{path}.{key}", base, conditions)


def _read_blocks(
    node: Mapping[Any, Any], path: str, base: RunConfig, conditions: tuple[Condition, ...]
) -> Iterator[Leaf]:
    for key in node:
        if not (key in ("count", "each") or str(key).isdigit()):
            raise ConfigError(
                f"space.{path}.{key}: unknown key; allowed: count, each, or a block's number"
            )
    count_path = f"{path}.count"
    counts: tuple[int, ...] = (len(_blocks(base, path)),)
    if "count" in node:
        (count,) = _read(node["count"], count_path, base, conditions)
        counts = _numbers(count)
        yield count
    for number in range(max(counts)):
        more = tuple(n for n in counts if n > number)
        exists = (Condition(count_path, more),) if "count" in node else ()
        block = {**node.get("each", {}), **node.get(number, node.get(str(number), {}))}
        for key, child in block.items():
            yield from _read(child, f"{path}.{number}.{key}", base, conditions + exists)
    for key in node:
        if str(key).isdigit() and int(key) >= max(counts):
            raise ConfigError(f"space.{path}.{key}: there are at most {max(counts)} of them")


def _numbers(count: Leaf) -> tuple[int, ...]:
    """The numbers of blocks that a count may be."""
    numbers = possible_values(count.domain)
    if numbers is None or any(type(n) is not int or n < 0 for n in numbers):
        raise ConfigError(f"space.{count.path}: must be whole numbers from 0 upwards")
    return numbers


def possible_values(domain: Domain) -> tuple[Any, ...] | None:
    """Return all values of a domain, or None where it is continuous."""
    match domain:
        case IntRange() as numbers:
            return numbers.values()
        case Choice(values):
            return values
        case Fixed(value):
            return (value,)
        case _:
            return None


def _read_when(path: str, when: Any) -> tuple[Condition, ...]:
    if when is None:
        return ()
    if not isinstance(when, Mapping):
        raise ConfigError(f"space.{path}.when={when}: must map searched paths to lists of values")
    conditions = []
    for parent, values in flatten(when).items():
        # Within a block, `each` in a parent's path means the same block.
        for blocks in BLOCK_LISTS:
            if path.startswith(blocks + "."):
                number = path.removeprefix(blocks + ".").split(".")[0]
                parent = parent.replace(f"{blocks}.each.", f"{blocks}.{number}.")
        conditions.append(
            Condition(parent, tuple(values if isinstance(values, list) else [values]))
        )
    return tuple(conditions)


def _parents_first(leaves: list[Leaf]) -> tuple[Leaf, ...]:
    by_path = {leaf.path: leaf for leaf in leaves}
    parents = {leaf.path: [c.path for c in leaf.conditions if c.path in by_path] for leaf in leaves}
    try:
        order = TopologicalSorter(parents).static_order()
        return tuple(by_path[path] for path in order)
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise ConfigError(f"space: `when` goes in a circle: {circle}") from error


def _check_conditions(space: Space) -> None:
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    for leaf in space.leaves:
        for condition in leaf.conditions:
            where = f"space.{leaf.path}.when: {condition.path}"
            if condition.path not in domains:
                raise ConfigError(
                    f"{where} is not searched; allowed: {', '.join(p for p in domains)}"
                )
            values = possible_values(domains[condition.path])
            if values is None:
                raise ConfigError(f"{where} is continuous; a parent must be choice, int or fixed")
            allowed = Choice(values)
            for value in condition.values:
                if allowed.index_of(value) is None:
                    raise ConfigError(f"{where}={value} is never the case; allowed: {list(values)}")


def _check_paths(space: Space, config: Config) -> None:
    for where, path in _searched_paths(space):
        if any(path == no or path.startswith(no + ".") for no in _NOT_SEARCHED):
            raise ConfigError(f"{where}: {path} cannot be searched; allowed: model.*, train.*")
        if config.tuner.name == "hyperband" and path in ("train.epochs", "train.steps"):
            raise ConfigError(f"{where}: hyperband sets the epochs itself; search it otherwise")
        if path.removesuffix(".count") not in BLOCK_LISTS:
            _check_exists(where, path, config.run)
    paths = {leaf.path for leaf in space.leaves}
    for name, overrides in space.variants.items():
        for path in overrides:
            if path in paths:
                raise ConfigError(f"variants.{name}: space searches {path} too; one of the two")


def _searched_paths(space: Space) -> Iterator[tuple[str, str]]:
    for leaf in space.leaves:
        if leaf.path != VARIANT:
            yield f"space.{leaf.path}", leaf.path
    for name, overrides in space.variants.items():
        for path in overrides:
            yield f"variants.{name}", path


def _check_exists(where: str, path: str, base: RunConfig) -> None:
    node: Any = base.model_dump()
    for depth, key in enumerate(path.split(".")):
        prefix = ".".join(path.split(".")[:depth])
        if isinstance(node, list) and key.isdigit():
            # A block beyond the base config's has the keys of the defaults.
            defaults = "conv_defaults" if prefix == BLOCK_LISTS[0] else "fc_defaults"
            node = base.model_dump()["model"][defaults]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            keys = list(node) if isinstance(node, dict) else []
            close = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(keys)}"
            raise ConfigError(f"{where}: the config has no {path}; {hint}")


def _check_values(space: Space, base: RunConfig) -> None:
    by_path = {leaf.path: leaf for leaf in space.leaves}
    for leaf in space.leaves:
        if leaf.path == VARIANT:
            continue
        context = space.overrides(_context(leaf, by_path))
        for value in _extremes(leaf.domain):
            _check_override(f"space.{leaf.path}", base, {**context, leaf.path: value})
    for name, overrides in space.variants.items():
        _check_override(f"variants.{name}", base, overrides)


def _check_override(where: str, base: RunConfig, overrides: Mapping[str, Any]) -> None:
    try:
        apply_overrides(base, overrides)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _context(leaf: Leaf, by_path: Mapping[str, Leaf]) -> dict[str, Any]:
    """Values of the parents under which a leaf exists."""
    values: dict[str, Any] = {}
    for condition in leaf.conditions:
        values |= _context(by_path[condition.path], by_path)
        values[condition.path] = condition.values[0]
    return values


def _extremes(domain: Domain) -> tuple[Any, ...]:
    match domain:
        case IntRange(low, high) | FloatRange(low, high):
            return (low, high)
        case Choice(values):
            return values
        case Fixed(value):
            return (value,)


def _blocks(base: RunConfig, path: str) -> list[Any]:
    return list(getattr(base.model, path.removeprefix("model.")))
