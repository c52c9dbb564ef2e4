"""The searched values of some trials as numbers: their positions on an axis per value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.messages import show
from fmnist_sweep.files import canonical_json
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.space.domains import Choice, FloatRange, IntRange
from fmnist_sweep.space.space import Leaf, Space

_SAY_LITTLE = ("name", "count")  # without the part before them


@dataclass(frozen=True, eq=False)
class SearchedValue:
    """A searched value over some trials.

    `places` are float64 (trials,): the position of each trial's value, 0..1, nan if it does not
    exist for the trial. `levels` are the positions of all occurring values, ascending, and `texts`
    those values as text. `is_number` distinguishes a numeric axis from a categorical one, and
    `is_log` a log scale; `ends` are the numbers at 0 and 1. `name` is the shortest unique suffix of
    `path`.
    """

    path: str
    name: str
    places: NDArray[np.float64]
    levels: tuple[float, ...]
    texts: tuple[str, ...]
    is_number: bool
    is_log: bool = False
    ends: tuple[float, float] = (0.0, 1.0)

    def place_of(self, number: float) -> float:
        """Return the position of a number on a numeric axis."""
        return float(_places(np.array([number]), self.ends, self.is_log)[0])

    @property
    def varies(self) -> bool:
        """Whether the trials differ in this value; counts as different if it exists only for
        some."""
        return len(self.levels) + bool(np.isnan(self.places).any()) > 1


def searched_values(trials: Sequence[Trial], space: Space) -> list[SearchedValue]:
    """Return the leaves of a space that exist for any of these trials, in the space's order."""
    leaves = [
        leaf for leaf in space.leaves if any(leaf.path in trial.overrides for trial in trials)
    ]
    names = short_names([leaf.path for leaf in leaves])
    return [_value(leaf, names[leaf.path], trials) for leaf in leaves]


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return each path's shortest unique suffix that is informative and does not begin with a
    number."""
    return {path: _short(path, [other for other in paths if other != path]) for path in paths}


def _short(path: str, others: Sequence[str]) -> str:
    parts = path.split(".")
    for count in range(2 if parts[-1] in _SAY_LITTLE else 1, len(parts)):
        end = ".".join(parts[-count:])
        if not parts[-count].isdigit() and not any(
            other == end or other.endswith(f".{end}") for other in others
        ):
            return end
    return path


def _value(leaf: Leaf, name: str, trials: Sequence[Trial]) -> SearchedValue:
    given: list[Any] = [trial.overrides.get(leaf.path) for trial in trials]
    exists = np.array([leaf.path in trial.overrides for trial in trials])
    known = [value for value, there in zip(given, exists, strict=True) if there]
    numbers = [value for value in known if type(value) in (int, float) and math.isfinite(value)]
    if len(numbers) == len(known):
        return _number(leaf, name, numbers, exists)
    return _category(leaf, name, given, exists)


def _number(
    leaf: Leaf, name: str, numbers: list[float], exists: NDArray[np.bool_]
) -> SearchedValue:
    is_log = _is_log(leaf, numbers)
    reach = [*numbers]
    if isinstance(leaf.domain, IntRange | FloatRange):
        reach += [leaf.domain.low, leaf.domain.high]
    ends = (float(min(reach)), float(max(reach)))
    values = np.array(sorted(set(numbers)), dtype=np.float64)
    places = np.full(len(exists), np.nan)
    places[exists] = _places(np.array(numbers, dtype=np.float64), ends, is_log)
    levels = _places(values, ends, is_log)
    texts = tuple(f"{value:.3g}" if value < 1e5 else f"{value:.6g}" for value in values)
    return SearchedValue(leaf.path, name, places, tuple(levels.tolist()), texts, True, is_log, ends)


def _places(
    numbers: NDArray[np.float64], ends: tuple[float, float], is_log: bool
) -> NDArray[np.float64]:
    low, high = _scale(np.array(ends), is_log)
    if low == high:
        return np.full(len(numbers), 0.5)  # a single value is placed in the middle
    places: NDArray[np.float64] = (_scale(numbers, is_log) - low) / (high - low)
    return places


def _is_log(leaf: Leaf, numbers: list[float]) -> bool:
    if isinstance(leaf.domain, IntRange | FloatRange):
        return leaf.domain.log and min(numbers) > 0
    # A choice such as 16, 32, 64, 128 is meant as ratios.
    return min(numbers) > 0 and max(numbers) >= 8 * min(numbers)


def _scale(numbers: NDArray[np.float64], is_log: bool) -> NDArray[np.float64]:
    return np.log(numbers) if is_log else numbers


def _category(leaf: Leaf, name: str, given: list[Any], exists: NDArray[np.bool_]) -> SearchedValue:
    keys = [canonical_json(value) for value in given]
    texts = {
        key: show(value) for key, value, there in zip(keys, given, exists, strict=True) if there
    }
    order = (
        [canonical_json(v) for v in leaf.domain.values] if isinstance(leaf.domain, Choice) else []
    )
    # Values outside the domain come from `sweep.start_with`; they are placed last.
    order = [key for key in order if key in texts] + [key for key in texts if key not in order]
    spread = np.linspace(0.0, 1.0, len(order)) if len(order) > 1 else np.array([0.5])
    place = dict(zip(order, spread.tolist(), strict=True))
    places = np.array(
        [place[key] if there else np.nan for key, there in zip(keys, exists, strict=True)],
        dtype=np.float64,
    )
    return SearchedValue(
        leaf.path, name, places, tuple(spread.tolist()), tuple(texts[key] for key in order), False
    )
