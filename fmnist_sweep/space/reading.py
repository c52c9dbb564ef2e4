"""Converts the YAML tree to a space: `each` is expanded block by block, parents come first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from fmnist_sweep.config.messages import did_you_mean, show
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.space.checks import check_space
from fmnist_sweep.space.domains import Choice, is_leaf, parse_domain, possible_values
from fmnist_sweep.space.overrides import flatten
from fmnist_sweep.space.space import BLOCK_LISTS, VARIANT, Condition, Leaf, Space, is_at_or_below

_SECTIONS = ("model", "train")
_MOST_BLOCKS = 100


def read_space(config: Config, pinned: tuple[str, ...] = ()) -> tuple[Space, list[str]]:
    """Read `space` and `variants` of a config.

    Args:
        config: the whole config.
        pinned: config keys that are not searched, regardless of the space; leaves at or below them
            keep the config's value.

    Returns:
        The space, and its paths that `pinned` removed from the search.

    Raises:
        ConfigError: a path that the config lacks or that cannot be searched, an empty range, a
            value that the config rejects, or a `when` that never holds or is circular.
    """
    base = config.run
    reader = _Reader(base, pinned)
    leaves: list[Leaf] = []
    for key, node in (config.space or {}).items():
        if key not in _SECTIONS:
            advice = did_you_mean(key, _SECTIONS)
            raise ConfigError(f"space.{key}: cannot be searched{advice}")
        leaves += reader.leaves(node, key, key, ())
    variants = {name: flatten(given) for name, given in (config.variants or {}).items()}
    if variants:
        leaves.insert(0, Leaf(VARIANT, Choice(tuple(variants)), written=VARIANT))
    space = Space(_parents_first(leaves), variants)
    check_space(space, config)
    return space.pinned(base, pinned)


class _Reader:
    """Walks the tree. `path` is the config's path, `written` the same path as written in YAML."""

    def __init__(self, base: RunConfig, pinned: tuple[str, ...]) -> None:
        self._base = base
        self._pinned = pinned

    def leaves(
        self, node: Any, path: str, written: str, conditions: tuple[Condition, ...]
    ) -> Iterator[Leaf]:
        if is_leaf(node):
            domain = parse_domain(f"space.{written}", node)
            when = _read_when(path, written, node.get("when"))
            yield Leaf(path, domain, conditions + when, written)
        elif not isinstance(node, Mapping):
            raise ConfigError(
                f"space.{written}={show(node)}: must be a section, or a leaf with int, float, "
                "choice or fixed"
            )
        elif path in BLOCK_LISTS:
            yield from self._blocks(node, path, conditions)
        else:
            for key, child in node.items():
                yield from self.leaves(child, f"{path}.{key}", f"{written}.{key}", conditions)

    def _blocks(
        self, node: Mapping[Any, Any], path: str, conditions: tuple[Condition, ...]
    ) -> Iterator[Leaf]:
        for key, child in node.items():
            if not (key in ("count", "each") or _is_number(key)):
                raise ConfigError(
                    f"space.{path}.{key}: unknown key; allowed: count, each, or a block's number"
                )
            if key != "count" and (not isinstance(child, Mapping) or is_leaf(child)):
                raise ConfigError(f"space.{path}.{key}={show(child)}: must be a section")
        there = len(getattr(self._base.model, path.removeprefix("model.")))
        counts: tuple[int, ...] = (there,)
        count = None
        if "count" in node:
            count = self._count(node["count"], path, there, conditions)
            counts = _numbers_of_blocks(count)
            yield count
        numbered = {int(key): key for key in node if _is_number(key)}
        for number, key in numbered.items():
            if number >= max(counts):
                raise ConfigError(
                    f"space.{path}.{key}: there are at most {max(counts)}, counted from 0"
                )
        for number in range(max(counts)):
            exists = conditions
            more = tuple(n for n in counts if n > number)
            if count is not None and (len(more) < len(counts) or count.conditions):
                exists = (*conditions, Condition(count.path, more))
            block = {key: ("each", child) for key, child in node.get("each", {}).items()}
            if number in numbered:
                own = numbered[number]
                block |= {key: (own, child) for key, child in node[own].items()}
            for key, (where, child) in block.items():
                yield from self.leaves(
                    child, f"{path}.{number}.{key}", f"{path}.{where}.{key}", exists
                )

    def _count(self, node: Any, path: str, there: int, conditions: tuple[Condition, ...]) -> Leaf:
        if not is_leaf(node):
            raise ConfigError(
                f"space.{path}.count={show(node)}: must be a leaf with int, choice or fixed"
            )
        (count,) = self.leaves(node, f"{path}.count", f"{path}.count", conditions)
        numbers = _numbers_of_blocks(count)
        if there not in numbers and is_at_or_below(count.path, self._pinned):
            # Pinned to a number beyond the searched ones: `each` covers all of those blocks.
            return replace(count, domain=Choice((*numbers, there)))
        return count


def _numbers_of_blocks(count: Leaf) -> tuple[int, ...]:
    numbers = possible_values(count.domain, _MOST_BLOCKS + 1)
    if not numbers or not all(
        type(number) is int and 0 <= number <= _MOST_BLOCKS for number in numbers
    ):
        raise ConfigError(
            f"space.{count.path}: {count.domain}; must be whole numbers from 0 to {_MOST_BLOCKS}"
        )
    return numbers


def _read_when(path: str, written: str, when: Any) -> tuple[Condition, ...]:
    if when is None:
        return ()
    if not isinstance(when, Mapping):
        raise ConfigError(
            f"space.{written}.when={show(when)}: must map searched paths to lists of values"
        )
    conditions = []
    for parent, values in flatten(when).items():
        # Inside a block, `each` in a parent's path means the same block.
        for blocks in BLOCK_LISTS:
            if path.startswith(f"{blocks}."):
                number = path.removeprefix(f"{blocks}.").split(".")[0]
                parent = parent.replace(f"{blocks}.each.", f"{blocks}.{number}.")
        conditions.append(
            Condition(parent, tuple(values if isinstance(values, list) else [values]))
        )
    return tuple(conditions)


def _parents_first(leaves: list[Leaf]) -> tuple[Leaf, ...]:
    by_path = {leaf.path: leaf for leaf in leaves}
    parents = {leaf.path: [c.path for c in leaf.conditions if c.path in by_path] for leaf in leaves}
    try:
        return tuple(by_path[path] for path in TopologicalSorter(parents).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise ConfigError(
            f"space: `when` is circular: {circle}; a leaf cannot depend on itself"
        ) from error


def _is_number(key: Any) -> bool:
    """Whether a key is a block's number: an integer in YAML, a string on the command line."""
    text = str(key)
    return text.isascii() and text.isdigit() and text == str(int(text))
