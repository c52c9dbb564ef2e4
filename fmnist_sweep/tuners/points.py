"""The points of a space that are still to be tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.files import canonical_json
from fmnist_sweep.journal.records import Learnt
from fmnist_sweep.tuners.encoding import (
    all_points,
    assembled,
    at,
    decode,
    draw,
    to_hyperparameters,
)
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem

_MOST_DRAWS = 10_000
"""Draws in a row, none of which fits, after which an infinite space is taken to be used up."""
_DRAWS_BEFORE_LISTING = 200
_MOST_LISTED = 10_000
"""A space of no more points is known to be used up only when each of them has been tried."""


class Points:
    """Which points were tried or found infeasible, and random ones that were not.

    Points are given in the encoding of `encoding.py`.
    """

    def __init__(self, problem: SearchProblem) -> None:
        self._problem = problem
        self._space = problem.space
        self.hyperparameters = to_hyperparameters(problem.space)
        self.random = np.random.RandomState()  # seeded by `draws_from`
        self._tried: set[str] = set()
        self._learnt: list[int] = []

    def draws_from(self, *entropy: int) -> np.random.RandomState:
        """Seed what is drawn next; return the generator."""
        self.random = np.random.RandomState([self._problem.seed, *entropy, *self._learnt])
        return self.random

    def after(self, learnt: Learnt) -> None:
        """Draw other points than the earlier sweeps did, whose seed may be the same."""
        if learnt.observations:
            self._learnt = [len(learnt.observations)]

    def point(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the space's values by path."""
        return decode(self._space, values)

    def add(self, values: Mapping[str, Any]) -> None:
        """Count a point as tried."""
        self._tried.add(self._key(values))

    def was_tried(self, values: Mapping[str, Any]) -> bool:
        """Whether a point was tried or found infeasible."""
        return self._key(values) in self._tried

    def fits(self, values: Mapping[str, Any]) -> bool:
        """Whether a point is feasible and was not tried before; report it if it is infeasible."""
        if self.was_tried(values):
            return False
        reason = self._problem.why_infeasible(self.point(values))
        if reason is None:
            return True
        self.add(values)
        self._problem.on_infeasible(dict(values), reason)
        return False

    def draw(self) -> dict[str, Any]:
        """Draw a point at random, feasible or not, tried or not."""
        return draw(self.hyperparameters, self.random)

    def at(self, place: NDArray[np.float64]) -> dict[str, Any]:
        """Return the point at a place in the unit cube, float64 (n,), a dimension a leaf."""
        return at(self.hyperparameters, np.clip(place, 0.0, 1.0 - 1e-9).tolist())

    def place_of(self, values: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the place of a point in the unit cube, float64 (n,): that of `at`, 0.5 where a
        value does not exist."""
        return np.array(
            [
                one.value_to_prob(values[one.name]) if one.name in values else 0.5
                for one in self.hyperparameters.space
            ]
        )

    def assembled(self, value_of: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the point whose values are given one by one: see `encoding.assembled`."""
        return assembled(self.hyperparameters, value_of)

    def draw_fitting(self) -> dict[str, Any] | None:
        """Draw a point that fits at random; None if the space has none left."""
        return next((values for values in self._candidates() if self.fits(values)), None)

    def proposal(self, number: int, values: dict[str, Any] | None) -> Proposal | Exhausted:
        """Return the proposal of a point; None: of a random one that fits, if the space has one."""
        if values is None:
            self.draws_from(number)
            values = self.draw_fitting()
        if values is None:
            return Exhausted()
        return Proposal(f"ask-{number}", values, self.point(values))

    @property
    def all_tried(self) -> bool:
        """Whether the space is used up; False for a space with more points than are listed."""
        return self._listed is not None and all(map(self.was_tried, self._listed))

    def _candidates(self) -> Iterator[dict[str, Any]]:
        listed = self._listed
        for _ in range(_MOST_DRAWS if listed is None else _DRAWS_BEFORE_LISTING):
            yield self.draw()
        if listed is not None:
            # Shuffled as a whole, whatever was tried, so that a resume finds the same point.
            for index in self.random.permutation(len(listed)):
                yield dict(listed[index])

    @cached_property
    def _listed(self) -> Sequence[dict[str, Any]] | None:
        return all_points(self._space, self.hyperparameters, _MOST_LISTED)

    def _key(self, values: Mapping[str, Any]) -> str:
        return canonical_json(self.point(values))
