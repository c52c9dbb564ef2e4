"""`tuner=nsga2`: a genetic algorithm for one objective or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.tuner_schema import Nsga2Tuner
from fmnist_sweep.dominance import crowding_distance, ranks
from fmnist_sweep.journal.records import Asked, FoundInfeasible, Record, Told
from fmnist_sweep.journal.scores import costs_of, scores_of
from fmnist_sweep.tuners.points import Points
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem

_MOST_TRIES = 50
"""Children in a row that do not fit; then a random point is taken."""
_STEP = 0.1  # of a changed value, as a share of its range


class Nsga2:
    """NSGA-II (Deb et al. 2002), one child at a time.

    The best `population` trials so far are the parents: by the rank of their front, on the last
    front those with the most room around them. Each proposal is a child of two of them, each the
    better one of two that are drawn. A child has each value from one of the two; about one value is
    changed: redrawn, or moved a little.

    There are no generations to wait for: a result counts as soon as it is there, whichever worker
    it comes from, and the worst parent makes room (a steady state; Durillo et al. 2009, "On the
    Effect of the Steady-State Selection Scheme in Multi-Objective Genetic Algorithms"). A trial
    counts with its latest scores. With one objective it is a plain genetic algorithm.
    """

    name = "tuner nsga2"
    ends_by_itself = False

    def __init__(self, problem: SearchProblem, settings: Nsga2Tuner) -> None:
        self._objectives = problem.objectives
        self._points = Points(problem)
        self._population = settings.population
        self._change = 1 / max(len(problem.space.leaves), 1)
        self._values: dict[int, dict[str, Any]] = {}  # by trial
        self._scores: dict[int, tuple[float, ...]] = {}  # by trial, of the parents

    def propose(self, number: int) -> Proposal | Exhausted:
        """Propose a child, or a random point while there are too few parents."""
        return self._points.proposal(number, self._fitting_child(number))

    def apply(self, record: Record) -> None:
        """Take in a record."""
        match record:
            case FoundInfeasible():
                self._points.add(record.values)
            case Asked(oracle_id=str(), values=dict(values)):
                self._points.add(values)
                self._values[record.trial] = values
            case Told(score=float()) if record.trial in self._values:
                self._scores[record.trial] = scores_of(record, self._objectives)
                if len(self._scores) > self._population:
                    del self._scores[self._best_first()[-1]]

    @property
    def is_used_up(self) -> bool:
        """Whether each point of the space was tried or found infeasible; False for a space with
        more points than are listed."""
        return self._points.all_tried

    def _fitting_child(self, number: int) -> dict[str, Any] | None:
        if len(self._scores) < self._population:
            return None
        parents = [self._values[trial] for trial in self._best_first()]
        for tried in range(_MOST_TRIES):
            self._points.draws_from(number, tried)
            child = self._child(self._parent(parents), self._parent(parents))
            if self._points.fits(child):
                return child
        return None

    def _best_first(self) -> list[int]:
        """Return the parents by the rank of their front, then by the room around them, then by
        number."""
        trials = sorted(self._scores)
        scores = np.array([costs_of(self._scores[t], self._objectives) for t in trials])
        rank = ranks(-scores)
        order = np.lexsort((-_room(scores, rank), rank))
        return [trials[place] for place in order]

    def _parent(self, best_first: Sequence[dict[str, Any]]) -> dict[str, Any]:
        drawn = self._points.random.randint(len(best_first), size=2)
        return best_first[int(drawn.min())]

    def _child(self, *parents: dict[str, Any]) -> dict[str, Any]:
        random = self._points.random

        def value_of(hyperparameter: Any) -> Any:
            # A value that exists at neither parent's point is drawn.
            own = [parent[n] for parent in parents if (n := hyperparameter.name) in parent]
            if not own:
                return hyperparameter.prob_to_value(random.random_sample())
            value = own[random.randint(len(own))]
            if random.random_sample() >= self._change:
                return value
            if random.random_sample() < 0.5:
                return hyperparameter.prob_to_value(random.random_sample())
            place = hyperparameter.value_to_prob(value) + _STEP * random.standard_normal()
            return hyperparameter.prob_to_value(min(max(place, 0.0), 1.0 - 1e-9))

        return self._points.assembled(value_of)


def _room(scores: NDArray[np.float64], rank: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each point's crowding distance on its own front, (n,)."""
    room = np.zeros(len(scores))
    for front in np.unique(rank):
        room[rank == front] = crowding_distance(scores[rank == front])
    return room
