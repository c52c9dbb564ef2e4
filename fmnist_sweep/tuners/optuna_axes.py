"""A space's domains as Optuna's distributions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from fmnist_sweep.space.domains import Choice, Domain, Fixed, FloatRange, IntRange

_LARGEST_INT = 2**53  # which Optuna's arithmetic, in floats, still counts by ones


@dataclass(frozen=True)
class Axis:
    """How a leaf's encoded values are put to Optuna: as they are, or by their index."""

    distribution: BaseDistribution
    param: Callable[[Any], Any] = lambda value: value
    value: Callable[[Any], Any] = lambda param: param

    @property
    def lowest(self) -> Any:
        """The lowest of Optuna's values, or the first choice."""
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[0]
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return self.distribution.low


def axis_of(domain: Domain) -> Axis | None:
    """Return the axis of a domain; None for a fixed value."""
    match domain:
        case Fixed():
            return None
        case Choice(values) if not _are_ordered(values):
            return Axis(CategoricalDistribution(tuple(range(len(values)))))
        case FloatRange(low, high, None, log):
            return Axis(FloatDistribution(low, high, log=log))
        case IntRange(low, high, None, True):
            return Axis(_whole(low, high, log=True), value=lambda p: min(max(round(p), low), high))
        case IntRange() as numbers:
            return Axis(
                _whole(0, numbers.count - 1),
                numbers.index_of,
                lambda p: numbers.value(min(max(round(p), 0), numbers.count - 1)),
            )
        case indexed:
            return Axis(_whole(0, (indexed.count or 1) - 1), value=round)


def _whole(low: int, high: int, log: bool = False) -> BaseDistribution:
    """Return the distribution of a range of whole numbers; a float's where Optuna's arithmetic
    could not tell neighbours apart."""
    if high > _LARGEST_INT:
        return FloatDistribution(float(low), float(high), log=log)
    return IntDistribution(low, high, log=log)


def _are_ordered(values: tuple[Any, ...]) -> bool:
    """Whether values are increasing numbers, so that neighbours are alike."""
    are_numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return are_numbers and all(a < b for a, b in pairwise(values))
