"""The domain of a searched value: `int`, `float`, `choice` or `fixed`, as written in YAML.

Values are counted and computed one by one, never listed, because a small step makes billions of
them.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fmnist_sweep.config.messages import show
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import canonical_json

_MOST_VALUES = 2**53
"""Maximum number of steps in a range, up to which floats count exactly."""
KINDS = ("int", "float", "choice", "fixed")
_KEYS = {
    "int": {"int", "step", "log", "when"},
    "float": {"float", "step", "log", "when"},
    "choice": {"choice", "when"},
    "fixed": {"fixed", "when"},
}


@dataclass(frozen=True)
class IntRange:
    """Integers from `low` to `high`, inclusive; with `log`, a step is a factor."""

    low: int
    high: int
    step: int | None
    log: bool

    @property
    def count(self) -> int:
        """Number of values in the range."""
        if not self.log or self.step is None:
            return (self.high - self.low) // (self.step or 1) + 1
        steps = 0
        while self.value(steps) <= self.high:
            steps += 1
        return steps

    def value(self, index: int) -> int:
        """Return the value at an index, counted from 0 at `low`."""
        if self.log and self.step is not None:
            return self.low * int(self.step**index)
        return self.low + (self.step or 1) * index

    def index_of(self, value: Any) -> int | None:
        """Return the index of a value, None if it is not in the range."""
        if type(value) is not int or not self.low <= value <= self.high:
            return None
        if self.log and self.step is not None:
            return next((i for i in range(self.count) if self.value(i) == value), None)
        index, rest = divmod(value - self.low, self.step or 1)
        return None if rest else index

    def __str__(self) -> str:
        return f"int {self.low} .. {self.high}{_step_and_log(self.step, self.log)}"


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`; uniform in their logarithm if `log`."""

    low: float
    high: float
    step: float | None
    log: bool

    @property
    def count(self) -> int | None:
        """Number of values in a range with a step; None for a continuous range."""
        if self.step is None:
            return 1 if self.low == self.high else None
        return int(self._steps) + 1

    @property
    def has_too_many(self) -> bool:
        """Whether the step is too small for its multiples to be counted."""
        return self.step is not None and not self._steps < _MOST_VALUES

    @property
    def _steps(self) -> float:
        assert self.step is not None
        almost = 1e-9  # 0.3 is three steps of 0.1, although as a float it is slightly less
        if self.log:
            return math.log(self.high / self.low, self.step) + almost
        return (self.high - self.low) / self.step + almost

    def value(self, index: int) -> float:
        """Return the value at an index, counted from 0 at `low`."""
        if self.step is None:
            return self.low
        if self.log:
            return self.tidy(self.low * self.step**index)
        return self.tidy(self.low + self.step * index)

    def index_of(self, value: Any) -> int | None:
        """Return the first index of a value, None if it is not one of those a step apart."""
        if type(value) not in (int, float):
            return None
        numbers = _Numbers(self)
        index = bisect_left(numbers, value)
        return index if index < len(numbers) and numbers[index] == value else None

    def index_after(self, index: int) -> int | None:
        """Return the next index with a different value, None after the last: values closer than six
        significant digits are equal."""
        count = self.count or 0
        after = bisect_right(_Numbers(self), self.value(index), lo=index + 1, hi=count)
        return after if after < count else None

    def tidy(self, number: float) -> float:
        """Round to six significant digits, within the range, so that the logged value is exact."""
        return min(max(float(f"{number:.6g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"float {self.low:g} .. {self.high:g}{_step_and_log(self.step, self.log)}"


@dataclass(frozen=True)
class _Numbers:
    """A range's values as a sequence that computes them on demand."""

    of: FloatRange

    def __len__(self) -> int:
        return self.of.count or 0

    def __getitem__(self, index: int) -> float:
        return self.of.value(index)


@dataclass(frozen=True)
class Choice:
    """One of several values, of any YAML type."""

    values: tuple[Any, ...]

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.values)

    def value(self, index: int) -> Any:
        """Return the value at an index."""
        return self.values[index]

    def index_after(self, index: int) -> int | None:
        """Return the next index, None after the last."""
        return index + 1 if index + 1 < len(self.values) else None

    def index_of(self, value: Any) -> int | None:
        """Return the index of a value; `1`, `1.0` and `true` are three different values."""
        wanted = canonical_json(value)
        for index, candidate in enumerate(self.values):
            if canonical_json(candidate) == wanted:
                return index
        return None

    def __str__(self) -> str:
        return "choice " + ", ".join(map(show, self.values))


@dataclass(frozen=True)
class Fixed:
    """A single value that is not searched; useful with `when`."""

    value: Any

    def index_of(self, value: Any) -> int | None:
        """Return 0 for the value, None for any other."""
        return Choice((self.value,)).index_of(value)

    def __str__(self) -> str:
        return f"fixed {show(self.value)}"


Domain = IntRange | FloatRange | Choice | Fixed


def possible_values(domain: Domain, most: int) -> tuple[Any, ...] | None:
    """Return all values of a domain, or None if it is continuous or has more than `most`."""
    if isinstance(domain, Fixed):
        return (domain.value,)
    count = domain.count
    if count is None or count > most:
        return None
    return tuple(domain.value(index) for index in range(count))


def is_leaf(node: Any) -> bool:
    """Whether a node of the space's tree is a domain, not a section."""
    return isinstance(node, Mapping) and any(kind in node for kind in KINDS)


def parse_domain(path: str, node: Mapping[str, Any]) -> Domain:
    """Parse a leaf.

    Raises:
        ConfigError: an unknown key, an empty range or one with `low` above `high`, or a wrong type.
    """
    kinds = [kind for kind in KINDS if kind in node]
    if len(kinds) > 1:
        raise ConfigError(
            f"{path}: {' and '.join(kinds)} in one leaf; allowed: one of {_and(KINDS)}"
        )
    kind = kinds[0]
    unknown = sorted(map(str, set(node) - _KEYS[kind]))
    if unknown:
        raise ConfigError(f"{path}.{unknown[0]}: unknown key; allowed: {_and(_KEYS[kind])}")
    if kind == "fixed":
        _check_plain(f"{path}.fixed", node["fixed"])
        return Fixed(node["fixed"])
    if kind == "choice":
        return _parse_choice(path, node["choice"])
    return _parse_range(path, kind, node)


def _parse_choice(path: str, values: Any) -> Choice:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{path}.choice={show(values)}: must be a list of at least one value")
    _check_plain(f"{path}.choice", values)
    seen: set[str] = set()
    for value in values:
        key = canonical_json(value)
        if key in seen:
            raise ConfigError(f"{path}.choice={show(values)}: {show(value)} is listed twice")
        seen.add(key)
    return Choice(tuple(values))


def _parse_range(path: str, kind: str, node: Mapping[str, Any]) -> IntRange | FloatRange:
    ends, log, step = node[kind], node.get("log", False), node.get("step")
    what = "whole numbers" if kind == "int" else "finite numbers"
    if not (isinstance(ends, list) and len(ends) == 2 and all(_is(kind, end) for end in ends)):
        raise ConfigError(f"{path}.{kind}={show(ends)}: must be two {what}, [low, high]")
    low, high = ends
    if low > high:
        raise ConfigError(f"{path}.{kind}={ends}: the range is empty; low must not exceed high")
    if not isinstance(log, bool):
        raise ConfigError(f"{path}.log={show(log)}: must be true or false")
    if log and low <= 0:
        raise ConfigError(f"{path}.{kind}={ends}: with log, low must be above 0")
    least = 1 if log else 0
    if step is not None and not (_is(kind, step) and step > least):
        raise ConfigError(f"{path}.step={show(step)}: must be one of the {what} above {least}")
    if kind == "int":
        return IntRange(low, high, step, log)
    domain = FloatRange(float(low), float(high), None if step is None else float(step), log)
    if domain.has_too_many:
        raise ConfigError(
            f"{path}.step={show(step)}: gives more than {_MOST_VALUES:,} values in "
            f"{show(low)} .. {show(high)}; allowed: a larger step, or null for a continuous range"
        )
    return domain


def _is(kind: str, value: Any) -> bool:
    allowed = (int,) if kind == "int" else (int, float)
    return type(value) in allowed and abs(value) <= sys.float_info.max


def _check_plain(where: str, value: Any) -> None:
    try:
        canonical_json(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{where}={show(value)}: must be finite numbers, text, true, false, null, or lists "
            "and mappings of them"
        ) from error


def _step_and_log(step: float | None, log: bool) -> str:
    return ("" if step is None else f", step {step:g}") + (", log" if log else "")


def _and(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
