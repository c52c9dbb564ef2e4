"""`tuner=tpe`: Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from fmnist_sweep.config.tuner_schema import TpeTuner
from fmnist_sweep.journal.records import Asked, FoundInfeasible, Record, Told
from fmnist_sweep.journal.scores import scores_of
from fmnist_sweep.space.domains import Choice, Domain, Fixed, FloatRange, IntRange
from fmnist_sweep.tuners.points import Points
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem

_MOST_TRIES = 50
"""Proposals in a row that were tried before; then a random point is taken."""
_LARGEST_INT = 2**53  # which Optuna's arithmetic, in floats, still counts by ones


class Tpe:
    """Models the good points and the others, all values jointly, and proposes what is likeliest to
    be good (Bergstra et al. 2011; multivariate: Falkner et al. 2018, arXiv 1807.01774).

    A value that does not exist at a point is modelled as its lowest one. A point that is running
    is taken for one of the others; so is an infeasible one. One whose training failed is left out.
    If trials are trained in rungs, the model is of the longest rung that enough of them reached
    (BOHB's rule, in the same paper); if the points themselves set their epochs, of all trials.
    With several objectives, the good points are those on the first fronts (Ozaki et al. 2022,
    "Multiobjective Tree-Structured Parzen Estimator").
    """

    name = "tuner tpe"
    ends_by_itself = False

    def __init__(self, problem: SearchProblem, settings: TpeTuner) -> None:
        self._problem, self._settings = problem, settings
        self._points = Points(problem)
        self._axes = {
            leaf.path: axis
            for leaf in problem.space.leaves
            if (axis := _axis(leaf.domain)) is not None
        }
        self._distributions = {path: axis.distribution for path, axis in self._axes.items()}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._values: dict[int, dict[str, Any]] = {}  # by trial
        self._infeasible: list[dict[str, Any]] = []
        self._since_asked = 0  # infeasible points
        self._sets_epochs = problem.epochs is None or any(
            "train.epochs" in changed for changed in (self._axes, *problem.space.variants.values())
        )
        self._rungs: dict[int, _Rung] = {}  # by epochs

    def propose(self, number: int) -> Proposal | Exhausted:
        """Propose a point."""
        longest = self._longest()
        values = None if longest is None else self._sampled(longest, number)
        return self._points.proposal(number, values)

    def apply(self, record: Record) -> None:
        """Take in a record."""
        match record:
            case FoundInfeasible():
                self._points.add(record.values)
                self._infeasible.append(self._params(record.values))
                for rung in self._rungs.values():
                    rung.know_infeasible(self._infeasible[-1])
                self._since_asked += 1
            case Asked():
                if record.values is not None and record.oracle_id is not None:
                    self._points.add(record.values)
                    self._values[record.trial] = self._params(record.values)
                    self._since_asked = 0
                if record.trial in self._values:
                    epochs = 0 if self._sets_epochs else record.last_epoch
                    self._rung(epochs).run(record.trial, self._values[record.trial])
            case Told() if record.trial in self._values:
                for rung in self._rungs.values():
                    rung.tell(record.trial, scores_of(record, self._problem.objectives))

    @property
    def is_used_up(self) -> bool:
        """Whether each point of the space was tried or found infeasible; False for a space with
        more points than are listed."""
        return self._points.all_tried

    def _rung(self, epochs: int) -> _Rung:
        if epochs not in self._rungs:
            self._rungs[epochs] = _Rung(self._problem, self._distributions)
            for params in self._infeasible:
                self._rungs[epochs].know_infeasible(params)
        return self._rungs[epochs]

    def _longest(self) -> _Rung | None:
        enough = self._settings.initial_points
        there = [epochs for epochs, rung in self._rungs.items() if rung.completed >= enough]
        return self._rungs[max(there)] if there else None

    def _sampled(self, rung: _Rung, number: int) -> dict[str, Any] | None:
        tried = 0
        while tried < _MOST_TRIES:
            seed = self._points.draws_from(number, self._since_asked, tried).randint(2**31)
            values = self._encoded(rung.sample(seed, self._settings))
            if self._points.was_tried(values):
                tried += 1
            elif self._points.fits(values):  # which reports one that is infeasible
                return values
            else:
                tried = 0  # the model knows that one now
        return None

    def _params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return Optuna's values; of those that do not exist at that point the lowest."""
        return {
            path: axis.param(values[path]) if path in values else axis.lowest
            for path, axis in self._axes.items()
        }

    def _encoded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a point as `encoding.py` has them, those that exist there."""
        values = dict.fromkeys((leaf.path for leaf in self._problem.space.leaves), 0)  # if fixed
        values |= {path: axis.value(params[path]) for path, axis in self._axes.items()}
        return {path: values[path] for path in self._points.point(values)}


class _Rung:
    """What is known of the points after so many epochs, as a study of Optuna's."""

    def __init__(self, problem: SearchProblem, distributions: dict[str, BaseDistribution]) -> None:
        self._distributions = distributions
        signs = [objective.sign for objective in problem.objectives]
        self._study = optuna.create_study(
            directions=["maximize" if sign > 0.0 else "minimize" for sign in signs]
        )
        self._worst = [-sign for sign in signs]
        self._running: dict[int, int] = {}  # trial -> Optuna's number
        self.completed = 0

    def run(self, trial: int, params: dict[str, Any]) -> None:
        self._study.add_trial(
            create_trial(state=TrialState.RUNNING, params=params, distributions=self._distributions)
        )
        self._running[trial] = len(self._study.get_trials(deepcopy=False)) - 1

    def tell(self, trial: int, scores: tuple[float, ...]) -> None:
        number = self._running.pop(trial, None)
        if number is None:
            return
        if scores:
            self._study.tell(number, scores)
            self.completed += 1
        else:
            self._study.tell(number, state=TrialState.FAIL)

    def know_infeasible(self, params: dict[str, Any]) -> None:
        self._study.add_trial(
            create_trial(
                values=self._worst,
                params=params,
                distributions=self._distributions,
                constraints={"feasible": 1.0},
            )
        )

    def sample(self, seed: int, settings: TpeTuner) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=1,
                n_ei_candidates=settings.candidates,
                multivariate=True,
                constant_liar=True,
            )
        asked = self._study.ask(self._distributions)
        # Only what is recorded counts.
        self._study.tell(asked, state=TrialState.FAIL)
        return dict(asked.params)


@dataclass(frozen=True)
class _Axis:
    """How a leaf's encoded values are put to Optuna: as they are, or by their index."""

    distribution: BaseDistribution
    param: Callable[[Any], Any] = lambda value: value
    value: Callable[[Any], Any] = lambda param: param

    @property
    def lowest(self) -> Any:
        if isinstance(self.distribution, CategoricalDistribution):
            return self.distribution.choices[0]
        assert isinstance(self.distribution, IntDistribution | FloatDistribution)
        return self.distribution.low


def _axis(domain: Domain) -> _Axis | None:
    """Return the axis of a domain; None for a fixed value."""
    match domain:
        case Fixed():
            return None
        case Choice(values) if not _are_ordered(values):
            return _Axis(CategoricalDistribution(tuple(range(len(values)))))
        case FloatRange(low, high, None, log):
            return _Axis(FloatDistribution(low, high, log=log))
        case IntRange(low, high, None, True):
            return _Axis(_whole(low, high, log=True), value=lambda p: min(max(round(p), low), high))
        case IntRange() as numbers:
            return _Axis(
                _whole(0, numbers.count - 1),
                numbers.index_of,
                lambda p: numbers.value(min(max(round(p), 0), numbers.count - 1)),
            )
        case indexed:
            return _Axis(_whole(0, (indexed.count or 1) - 1), value=round)


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
