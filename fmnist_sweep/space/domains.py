"""What one searched value may be: `int`, `float`, `choice` or `fixed`, as written in YAML."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist_sweep.config.messages import show
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import canonical_json

KINDS = ("int", "float", "choice", "fixed")
_KEYS = {
    "int": {"int", "step", "log", "when"},
    "float": {"float", "step", "log", "when"},
    "choice": {"choice", "when"},
    "fixed": {"fixed", "when"},
}


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included; `log` with a step multiplies by it."""

    low: int
    high: int
    step: int | None
    log: bool

    def values(self) -> Sequence[int]:
        """Return all the numbers in the range."""
        if not self.log or self.step is None:
            return range(self.low, self.high + 1, self.step or 1)
        numbers, number = [], self.low
        while number <= self.high:
            numbers.append(number)
            number *= self.step
        return numbers

    def __str__(self) -> str:
        return f"int {self.low} .. {self.high}{_step_and_log(self.step, self.log)}"


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`; uniform in their logarithm where `log`."""

    low: float
    high: float
    step: float | None
    log: bool

    def values(self) -> Sequence[float] | None:
        """Return all the numbers in a range with a step, None where there is none."""
        if self.step is None:
            return (self.low,) if self.low == self.high else None
        almost = 1e-9  # 0.3 is three steps of 0.1, though its float is a little less
        if self.log:
            steps = int(math.log(self.high / self.low, self.step) + almost)
            return [self.tidy(self.low * self.step**index) for index in range(steps + 1)]
        steps = int((self.high - self.low) / self.step + almost)
        return [self.tidy(self.low + self.step * index) for index in range(steps + 1)]

    def tidy(self, number: float) -> float:
        """Round to six significant digits, inside the range: what is read is what is run."""
        return min(max(float(f"{number:.6g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"float {self.low:g} .. {self.high:g}{_step_and_log(self.step, self.log)}"


@dataclass(frozen=True)
class Choice:
    """One of some values, of any type that YAML has."""

    values: tuple[Any, ...]

    def index_of(self, value: Any) -> int | None:
        """Return where a value stands; `1`, `1.0` and `true` are three different values."""
        wanted = canonical_json(value)
        for index, candidate in enumerate(self.values):
            if canonical_json(candidate) == wanted:
                return index
        return None

    def __str__(self) -> str:
        return "choice " + ", ".join(map(show, self.values))


@dataclass(frozen=True)
class Fixed:
    """One value, no search; useful with `when`."""

    value: Any

    def __str__(self) -> str:
        return f"fixed {show(self.value)}"


Domain = IntRange | FloatRange | Choice | Fixed


def possible_values(domain: Domain) -> Sequence[Any] | None:
    """Return all values of a domain, or None where it is continuous."""
    match domain:
        case IntRange() | FloatRange():
            return domain.values()
        case Choice(values):
            return values
        case Fixed(value):
            return (value,)


def is_leaf(node: Any) -> bool:
    """Whether a node of the space's tree is a domain rather than a section."""
    return isinstance(node, Mapping) and any(kind in node for kind in KINDS)


def parse_domain(path: str, node: Mapping[str, Any]) -> Domain:
    """Read a leaf.

    Raises:
        ConfigError: an unknown key, an empty or upside-down range, a wrong type.
    """
    kinds = [kind for kind in KINDS if kind in node]
    if len(kinds) > 1:
        raise ConfigError(f"{path}: {' and '.join(kinds)} at once; allowed: one of {_and(KINDS)}")
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
    choice = Choice(tuple(values))
    for index, value in enumerate(values):
        if choice.index_of(value) != index:
            raise ConfigError(f"{path}.choice={show(values)}: {show(value)} stands in it twice")
    return choice


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
    return FloatRange(float(low), float(high), None if step is None else float(step), log)


def _is(kind: str, value: Any) -> bool:
    if kind == "int":
        return type(value) is int
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


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
