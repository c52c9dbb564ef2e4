"""`tuner=tpe`: Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
)
from optuna.trial import TrialState, create_trial

from fmnist_sweep.config.tuner_schema import TpeTuner
from fmnist_sweep.journal.records import (
    Asked,
    EpochEnded,
    FoundInfeasible,
    Learnt,
    Observation,
    Record,
    Told,
)
from fmnist_sweep.journal.scores import scores_of
from fmnist_sweep.tuners.optuna_axes import axis_of
from fmnist_sweep.tuners.points import Points
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem

_MOST_TRIES = 50
"""Proposals in a row that were tried before; then a random point is taken."""


class Tpe:
    """Models the good points and the others, all values jointly, and proposes what is likeliest to
    be good (Bergstra et al. 2011; multivariate: Falkner et al. 2018, arXiv 1807.01774).

    A value that does not exist at a point is modelled as its lowest one. A point that is running
    is taken for one of the others; so is an infeasible one, and one whose training failed.
    If trials are trained in rungs, the model is of the longest rung that enough of them reached
    (BOHB's rule, in the same paper), also in one go past it or in an earlier sweep; if the points
    themselves set their epochs, it is of all trials. With several objectives, the good points are
    those on the first fronts (Ozaki et al. 2022, "Multiobjective Tree-Structured Parzen
    Estimator").
    """

    name = "tuner tpe"
    ends_by_itself = False

    def __init__(self, problem: SearchProblem, settings: TpeTuner) -> None:
        self._problem, self._settings = problem, settings
        self._points = Points(problem)
        self._axes = {
            leaf.path: axis
            for leaf in problem.space.leaves
            if (axis := axis_of(leaf.domain)) is not None
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
        self._seen: dict[_Source, _Seen] = {}
        self._told: dict[_Source, None] = {}  # those that have a score, in order

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
            case EpochEnded() if record.trial in self._values:
                self._saw_epoch(record)
            case Told() if record.trial in self._values:
                for rung in self._rungs.values():
                    rung.tell(record.trial, scores_of(record, self._problem.objectives))
                if record.score is not None:
                    self._know(record.trial)
            case Learnt():
                self._points.after(record)
                for one in record.observations:
                    self._learn(one)

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
            for source in self._told:
                self._pass(epochs, source)
        return self._rungs[epochs]

    def _saw_epoch(self, record: EpochEnded) -> None:
        objective, trial = self._problem.objective, record.trial
        seen = self._seen.setdefault(trial, _Seen(self._values[trial], []))
        score = record.metrics[objective.metric]
        if seen.best and objective.sign * (score - seen.best[-1]) < 0:
            score = seen.best[-1]
        seen.best.append(score)

    def _learn(self, one: Observation) -> None:
        source = (one.sweep, one.trial)
        self._seen[source] = _Seen(self._params(one.values), list(one.scores))
        # The rung that it would have ended in here.
        most = self._problem.epochs
        self._rung(0 if self._sets_epochs else min(len(one.scores), most or len(one.scores)))
        self._know(source)

    def _know(self, source: _Source) -> None:
        if len(self._problem.objectives) > 1:  # which are searched without rungs
            return
        self._told[source] = None
        for epochs in self._rungs:
            self._pass(epochs, source)

    def _pass(self, epochs: int, source: _Source) -> None:
        """Count a trial that did not end at a rung, but has its score there."""
        seen = self._seen.get(source)
        if seen is not None and len(seen.best) >= epochs:
            self._rungs[epochs].pass_by(source, seen.params, seen.best[epochs - 1])

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


_Source = int | tuple[str, int]
"""A trial of this sweep, or of an earlier one."""


@dataclass(frozen=True)
class _Seen:
    """A point, as Optuna's values, and its best scores up to each epoch."""

    params: dict[str, Any]
    best: list[float]


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
        self._known: set[_Source] = set()
        self.completed = 0

    def run(self, trial: int, params: dict[str, Any]) -> None:
        self._study.add_trial(
            create_trial(state=TrialState.RUNNING, params=params, distributions=self._distributions)
        )
        self._running[trial] = len(self._study.get_trials(deepcopy=False)) - 1
        self._known.add(trial)

    def tell(self, trial: int, scores: tuple[float, ...]) -> None:
        number = self._running.pop(trial, None)
        # One that failed stays a running one: Optuna leaves failed ones out of its model.
        if number is not None and scores:
            self._study.tell(number, scores)
            self.completed += 1

    def pass_by(self, source: _Source, params: dict[str, Any], score: float) -> None:
        if source not in self._known and math.isfinite(score):
            self._known.add(source)
            self._study.add_trial(
                create_trial(value=score, params=params, distributions=self._distributions)
            )
            self.completed += 1

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
