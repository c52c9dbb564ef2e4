"""The search space: the values that a sweep may change, and the conditions for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import canonical_json
from fmnist_sweep.space.domains import Choice, Domain, Fixed
from fmnist_sweep.space.overrides import apply_overrides, value_at

VARIANT = "variant"
BLOCK_LISTS = ("model.conv_blocks", "model.fc_layers")


@dataclass(frozen=True)
class Condition:
    """A leaf exists only if its parent has one of these values."""

    path: str
    values: tuple[Any, ...]

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Whether the parent exists at a point and has one of the values there."""
        return self.path in point and Choice(self.values).index_of(point[self.path]) is not None

    def __str__(self) -> str:
        values = (canonical_json(value).strip('"') for value in self.values)
        return f"{self.path} is {' or '.join(values)}"


@dataclass(frozen=True)
class Leaf:
    """One searched value, which exists only if all `conditions` hold. `written` is its path in the
    YAML, with `each` for a block's number."""

    path: str
    domain: Domain
    conditions: tuple[Condition, ...] = ()
    written: str = ""

    @property
    def where(self) -> str:
        """Its conditions in words; empty if it always exists."""
        return " and ".join(map(str, self.conditions))

    def exists_at(self, point: Mapping[str, Any]) -> bool:
        """Whether the leaf exists, given its parents' values at a point."""
        return all(condition.holds(point) for condition in self.conditions)


@dataclass(frozen=True)
class Space:
    """The search space, with parents before the leaves that depend on them.

    A `point` maps the paths of the leaves that exist there to their values; `overrides` map config
    paths to values, including those of a variant.
    """

    leaves: tuple[Leaf, ...]
    variants: Mapping[str, Mapping[str, Any]]

    def overrides(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a point changes in the base config, with the variant's name and values."""
        changed = dict(point)
        if VARIANT in point:
            changed |= self.variants[point[VARIANT]]
        return changed

    def point_of(self, base: RunConfig, wanted: RunConfig) -> dict[str, Any] | None:
        """Return the point at which the base config becomes `wanted`; None if there is none.
        Whether its domains contain the values is not checked (see `encode`)."""
        for variant in self.variants or (None,):
            point: dict[str, Any] = {}
            for leaf in self.leaves:
                if leaf.exists_at(point):
                    found, value = value_at(wanted, leaf.path)
                    if leaf.path == VARIANT:
                        found, value = variant is not None, variant
                    if found:
                        point[leaf.path] = value
            try:
                config = apply_overrides(base, self.overrides(point))
            except ConfigError:  # not of this space
                continue
            if config.model_dump() == wanted.model_dump():
                return point
        return None

    def pinned(self, base: RunConfig, keys: tuple[str, ...]) -> tuple[Space, list[str]]:
        """Fix the leaves at or below some config keys to the base config's values.

        Leaves whose conditions can no longer hold are removed, and variants do not change the
        pinned paths.

        Returns:
            The reduced space, and the paths that are no longer searched.
        """
        leaves: dict[str, Leaf] = {}
        fixed: dict[str, Any] = {}
        paths: dict[str, None] = {}
        for leaf in self.leaves:
            if is_at_or_below(leaf.path, keys):
                paths[leaf.path] = None
                found, value = value_at(base, leaf.path)
                if not found:
                    continue
                leaf = replace(leaf, domain=Fixed(value))
            if all(
                condition.path in leaves and (condition.path not in fixed or condition.holds(fixed))
                for condition in leaf.conditions
            ):
                leaves[leaf.path] = leaf
                if isinstance(leaf.domain, Fixed):
                    fixed[leaf.path] = leaf.domain.value
        variants = {}
        for name, overrides in self.variants.items():
            variants[name] = {p: v for p, v in overrides.items() if not is_at_or_below(p, keys)}
            paths |= dict.fromkeys(overrides.keys() - variants[name].keys())
        return Space(tuple(leaves.values()), variants), list(paths)


def is_at_or_below(path: str, keys: tuple[str, ...]) -> bool:
    """Whether a path is one of the keys, or inside a section that one of them names."""
    return any(path == key or path.startswith(f"{key}.") for key in keys)
