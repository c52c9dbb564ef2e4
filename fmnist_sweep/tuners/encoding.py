"""The space in Keras Tuner's terms, and back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters as types

from fmnist_sweep.space.domains import (
    Choice,
    Domain,
    Fixed,
    FloatRange,
    IntRange,
    possible_values,
)
from fmnist_sweep.space.space import Condition, Leaf, Space


def to_hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Declare a space to Keras Tuner, whole and up front.

    A choice is declared as the index of its value, so that booleans, null and pairs survive; so
    is a float with a step, whose last value Keras Tuner loses to rounding.
    """
    hyperparameters = _Declared()
    leaves = {leaf.path: leaf for leaf in space.leaves}
    for leaf in space.leaves:
        # Conditions are given as Keras Tuner writes them: nested `conditional_scope`s accept a
        # parent only where it was declared under just the scopes that are open, so not two.
        parents = [_parent(condition, leaves[condition.path]) for condition in leaf.conditions]
        hyperparameters.merge([_declaration(leaf, parents)])
    return hyperparameters


class _Declared(keras_tuner.HyperParameters):  # type: ignore[misc]  # Keras Tuner has no types
    """A space that stays as it is once an oracle has it: copies share it, values aside. Keras
    Tuner's own copy declares everything anew, which takes most of an ask."""

    def copy(self) -> _Declared:
        """Return one with values of its own."""
        copied = copy.copy(self)
        copied.values = dict(self.values)
        return copied


class _Indices(types.Choice):  # type: ignore[misc]  # Keras Tuner has no types
    """Keras Tuner's choice among the indices of a domain's values, without a list of them: there
    may be billions, and Keras Tuner copies it with every proposal."""

    def __init__(
        self, name: str, domain: Choice | FloatRange, conditions: Sequence[Any] | None = None
    ) -> None:
        super().__init__(name, values=[0], conditions=conditions)
        self.domain = domain
        self._values = range(domain.count or 0)

    def get_config(self) -> dict[str, Any]:
        """Return what makes another one like it."""
        given = super().get_config()
        return {"name": self.name, "domain": self.domain, "conditions": given["conditions"]}


def place_in_grid(hyperparameter: types.HyperParameter, value: Any) -> int:
    """Return where a value comes in a grid: its default first, then its values in their order."""
    if isinstance(hyperparameter, _Indices):
        return int(value)
    if _is_counted(hyperparameter):
        return int((value - hyperparameter.min_value) // hyperparameter.step)
    return _in_order(hyperparameter).index(value)


def next_in_grid(hyperparameter: types.HyperParameter, value: Any) -> Any | None:
    """Return the value that follows in a grid, None after the last one."""
    if isinstance(hyperparameter, _Indices):
        return hyperparameter.domain.index_after(value)
    if _is_counted(hyperparameter):
        following = value + hyperparameter.step
        return following if following <= hyperparameter.max_value else None
    values = _in_order(hyperparameter)
    following = values.index(value) + 1
    return values[following] if following < len(values) else None


def _is_counted(hyperparameter: types.HyperParameter) -> bool:
    """Whether it is a range of whole numbers that are evenly apart."""
    return isinstance(hyperparameter, types.Int) and hyperparameter.sampling == "linear"


def _in_order(hyperparameter: types.HyperParameter) -> list[Any]:
    """Return a grid's values of the others, of which there are few."""
    default = hyperparameter.default
    return [default, *(value for value in hyperparameter.values if value != default)]


def decode(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the space's values for Keras Tuner's, of the leaves that exist at that point; values
    of others may be among those given."""
    point: dict[str, Any] = {}
    for leaf in space.leaves:
        if leaf.path not in values or not leaf.exists_at(point):
            continue
        value = values[leaf.path]
        match leaf.domain:
            case Fixed(fixed):
                point[leaf.path] = fixed
            case IntRange():
                point[leaf.path] = int(value)
            case FloatRange(step=None) as numbers:
                point[leaf.path] = numbers.tidy(value)
            case indexed:
                point[leaf.path] = indexed.value(value)
    return point


def encode(space: Space, point: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return Keras Tuner's values for the space's; None if a domain does not have one of them, or
    if one is missing."""
    values: dict[str, Any] = {}
    for leaf in space.leaves:
        if leaf.exists_at(point):
            value = _encoded_value(leaf.domain, point[leaf.path]) if leaf.path in point else None
            if value is None:
                return None
            values[leaf.path] = value
    return values


def _encoded_value(domain: Domain, value: Any) -> int | float | None:
    match domain:
        case IntRange():
            return None if domain.index_of(value) is None else int(value)
        case FloatRange(low, high, None):
            is_number = type(value) in (int, float)
            return float(value) if is_number and low <= value <= high else None
        case indexed:
            return indexed.index_of(value)


def draw(
    hyperparameters: keras_tuner.HyperParameters, random: np.random.RandomState
) -> dict[str, Any]:
    """Draw a point at random, as Keras Tuner's values."""
    return assembled(hyperparameters, lambda each: each.prob_to_value(random.random_sample()))


def assembled(
    hyperparameters: keras_tuner.HyperParameters, value_of: Callable[[types.HyperParameter], Any]
) -> dict[str, Any]:
    """Return the point whose values are given one by one, of the leaves that exist there."""
    values: dict[str, Any] = {}
    for hyperparameter in hyperparameters.space:
        if _is_active(hyperparameter, values):
            values[hyperparameter.name] = value_of(hyperparameter)
    return values


def at(hyperparameters: keras_tuner.HyperParameters, place: Sequence[float]) -> dict[str, Any]:
    """Return the point at a place in the unit cube, a dimension a leaf, as Keras Tuner's values."""
    values: dict[str, Any] = {}
    for hyperparameter, probability in zip(hyperparameters.space, place, strict=False):
        if _is_active(hyperparameter, values):
            values[hyperparameter.name] = hyperparameter.prob_to_value(float(probability))
    return values


def all_points(
    space: Space, hyperparameters: keras_tuner.HyperParameters, most: int
) -> list[dict[str, Any]] | None:
    """Return every point, as Keras Tuner's values; None where there are more than `most`."""
    points: list[dict[str, Any]] = [{}]
    for leaf, hyperparameter in zip(space.leaves, hyperparameters.space, strict=True):
        choices = _encoded(leaf, most)
        if choices is None:
            return None
        longer: list[dict[str, Any]] = []
        for point in points:
            if _is_active(hyperparameter, point):
                longer += [{**point, leaf.path: choice} for choice in choices]
            else:
                longer.append(point)
            if len(longer) > most:  # before the others are made: there may be `most` times `most`
                return None
        points = longer
    return points


def sample_points(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Draw points of a space at random, independently, feasible or not."""
    hyperparameters = to_hyperparameters(space)
    random = np.random.RandomState(seed)
    return [decode(space, draw(hyperparameters, random)) for _ in range(count)]


def _is_active(hyperparameter: types.HyperParameter, values: Mapping[str, Any]) -> bool:
    return all(condition.is_active(values) for condition in hyperparameter.conditions)


def _encoded(leaf: Leaf, most: int) -> Sequence[Any] | None:
    """Return all of Keras Tuner's values for a leaf, or None where there are more than `most`."""
    match leaf.domain:
        case Fixed():
            return range(1)
        case IntRange() | FloatRange(step=None):
            return possible_values(leaf.domain, most)
        case indexed:
            count = indexed.count or 0
            return range(count) if count <= most else None


def _parent(condition: Condition, parent: Leaf) -> dict[str, Any]:
    values: list[Any] = list(condition.values)
    if isinstance(parent.domain, Choice | Fixed):
        values = [parent.domain.index_of(value) for value in condition.values]
    return {"class_name": "Parent", "config": {"name": condition.path, "values": values}}


def _declaration(leaf: Leaf, parents: list[dict[str, Any]]) -> types.HyperParameter:
    config: dict[str, Any] = {"name": leaf.path, "conditions": parents}
    match leaf.domain:
        case Fixed():
            return types.Fixed.from_config({**config, "value": 0})
        case FloatRange(low, high, None, log):
            ends = {"min_value": low, "max_value": high, "sampling": "log" if log else "linear"}
            return types.Float.from_config({**config, **ends})
        case IntRange(low, high, step, log):
            ends = {"min_value": low, "max_value": high, "sampling": "log" if log else "linear"}
            return types.Int.from_config({**config, **ends, "step": step})
        case indexed:
            return _Indices.from_config({**config, "domain": indexed})
