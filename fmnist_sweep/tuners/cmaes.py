"""`tuner=cmaes`: the covariance matrix adaptation evolution strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from cmaes import CMA, get_warm_start_mgd
from numpy.typing import NDArray

from fmnist_sweep.config.tuner_schema import CmaesTuner
from fmnist_sweep.journal.records import (
    Asked,
    FoundInfeasible,
    Learnt,
    Observation,
    Record,
    Told,
)
from fmnist_sweep.tuners.points import Points
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem

_VECTOR, _GENERATION = "cmaes/vector", "cmaes/generation"
"""What an ask's journaled values hold beside the point's own."""
_BEST_SHARE = 0.1
"""Of the results of earlier sweeps, those that count; as in WS-CMA-ES."""
_MOST_TRIES = 50
"""Proposals in a row that do not fit; then a random point is taken."""


class CmaEs:
    """CMA-ES (Hansen 2016, arXiv 1604.00772) on the unit cube, in which each searched value has a
    dimension: a choice in the order of its values, one that does not exist at a point without
    effect. It suits ranges of numbers, and not choices among things that have no order.

    A generation ends when as many of its points as the population have scores; later scores, of
    other workers, are left out. Results of earlier sweeps give the first distribution (WS-CMA-ES,
    Nomura et al. 2021, arXiv 2012.06932).
    """

    name = "tuner cmaes"
    ends_by_itself = False

    def __init__(self, problem: SearchProblem, settings: CmaesTuner) -> None:
        self._sign = problem.objective.sign
        self._points = Points(problem)
        self._settings = settings
        self._dimensions = max(len(problem.space.leaves), 2)
        self._cma = self._begun(np.full(self._dimensions, 0.5), settings.sigma, None)
        self._vectors: dict[int, tuple[int, list[float]]] = {}  # by trial
        self._told: list[tuple[Any, float]] = []

    def propose(self, number: int) -> Proposal | Exhausted:
        """Propose a point of the present generation."""
        return self._points.proposal(number, self._sampled(number))

    def apply(self, record: Record) -> None:
        """Take in a record."""
        match record:
            case FoundInfeasible():
                self._points.add(record.values)
            case Asked(oracle_id=str(), values=dict(values)):
                self._points.add(values)
                if _VECTOR in values:
                    self._vectors[record.trial] = values[_GENERATION], values[_VECTOR]
            case Learnt() if record.observations:
                self._points.after(record)
                self._learn(record.observations)
            case Told(score=float(score)) if record.trial in self._vectors:
                self._tell(*self._vectors.pop(record.trial), score)

    @property
    def is_used_up(self) -> bool:
        """Whether each point of the space was tried or found infeasible; False for a space with
        more points than are listed."""
        return self._points.all_tried

    def _begun(
        self, mean: NDArray[np.float64], sigma: float, covariance: NDArray[np.float64] | None
    ) -> CMA:
        return CMA(
            mean=mean,
            sigma=sigma,
            cov=covariance,
            bounds=np.tile([0.0, 1.0], (self._dimensions, 1)),
            population_size=self._settings.population,
        )

    def _learn(self, observations: Sequence[Observation]) -> None:
        known = []
        for one in observations:
            vector = np.full(self._dimensions, 0.5)
            place = self._points.place_of(one.values)
            vector[: len(place)] = place
            known.append((vector, -self._sign * one.scores[-1]))
        share = max(_BEST_SHARE, 1 / len(known))
        self._cma = self._begun(*get_warm_start_mgd(known, gamma=share))

    def _tell(self, generation: int, vector: list[float], score: float) -> None:
        if generation != self._cma.generation:
            return
        self._told.append((np.array(vector), -self._sign * score))
        if len(self._told) == self._cma.population_size:
            self._cma.tell(self._told)
            self._told = []

    def _sampled(self, number: int) -> dict[str, Any] | None:
        for tried in range(_MOST_TRIES):
            self._cma.reseed_rng(self._points.draws_from(number, tried).randint(2**31))
            vector = self._cma.ask()
            values = self._points.at(vector)
            if self._points.fits(values):
                own = {_VECTOR: vector.tolist(), _GENERATION: self._cma.generation}
                return {**values, **own}
        return None
