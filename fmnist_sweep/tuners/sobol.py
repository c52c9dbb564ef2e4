"""`tuner=qmc`: Sobol's sequence, which covers a space evenly."""

from __future__ import annotations

import warnings
from typing import Any

from scipy.stats import qmc

from fmnist_sweep.journal.records import Asked, FoundInfeasible, Record
from fmnist_sweep.tuners.points import Points
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem

_MOST_SKIPPED = 1_000
"""Points in a row that do not fit; then a random one is taken."""


class Sobol:
    """The points of a scrambled Sobol sequence, one after the other (Owen 1998; SciPy's)."""

    name = "tuner qmc"
    ends_by_itself = False

    def __init__(self, problem: SearchProblem) -> None:
        self._points = Points(problem)
        self._seed = problem.seed
        self._dimensions = max(len(problem.space.leaves), 1)
        self._sequence = self._new_sequence()
        self._used = 0

    def propose(self, number: int) -> Proposal | Exhausted:
        """Propose the next point of the sequence that fits."""
        return self._points.proposal(number, self._next_fitting())

    def apply(self, record: Record) -> None:
        """Take in a record: a point that was used is not proposed again."""
        match record:
            case FoundInfeasible(values=values) | Asked(oracle_id=str(), values=dict(values)):
                self._points.add(values)
                self._used += 1

    @property
    def is_used_up(self) -> bool:
        """Whether each point of the space was tried or found infeasible; False for a space with
        more points than are listed."""
        return self._points.all_tried

    def _next_fitting(self) -> dict[str, Any] | None:
        # Where points repeat, in a small space, the place in the sequence lags behind: what comes
        # again was tried.
        place = self._used
        for _ in range(_MOST_SKIPPED):
            values = self._at(place)
            if self._points.fits(values):
                return values
            place += 1
        return None

    def _at(self, place: int) -> dict[str, Any]:
        if self._sequence.num_generated > place:
            self._sequence = self._new_sequence()
        with warnings.catch_warnings():
            # A number of points that is no power of two is a little less even.
            warnings.simplefilter("ignore", UserWarning)
            if place > self._sequence.num_generated:
                self._sequence.fast_forward(place - self._sequence.num_generated)
            return self._points.at(self._sequence.random(1)[0])

    def _new_sequence(self) -> qmc.Sobol:
        return qmc.Sobol(self._dimensions, scramble=True, rng=self._seed)
