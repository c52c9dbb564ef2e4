"""Keras Tuner's four oracles, changed in what a sweep needs otherwise."""

from __future__ import annotations

import math
import warnings
from typing import Any, Protocol

import keras_tuner
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fmnist_sweep import runtime
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.config.tuner_schema import TunerConfig
from fmnist_sweep.tuners.encoding import next_in_grid, place_in_grid


class Asker(Protocol):
    """What the oracles call back, once they have been asked."""

    def replayed(self) -> dict[str, Any] | None:
        """Return the values of a recorded ask that is taken in, None where one is answered."""

    def fits(self, values: dict[str, Any]) -> bool:
        """Whether a point is feasible and was not tried before."""

    def draw_fitting(self) -> dict[str, Any] | None:
        """Draw a point that fits at random, None where the space has none left."""


def make_oracle(
    tuner: TunerConfig,
    hyperparameters: keras_tuner.HyperParameters,
    objective: Objective,
    epochs: int,
    asker: Asker,
) -> Any:
    """Return the tuner's oracle, which asks `asker` for points that fit."""
    common = {
        "objective": keras_tuner.Objective(objective.metric, objective.direction),
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": tuner.seed % (2**32 - 1) + 1,  # Keras Tuner takes 0 for "draw one"
    }
    oracle: Any
    match tuner.name:
        case "random":
            oracle = _Random(max_trials=None, **common)
        case "grid":
            oracle = _Grid(max_trials=None, **common)
        case "bayesian":
            oracle = _Bayesian(
                max_trials=None,
                num_initial_points=tuner.initial_points,
                alpha=tuner.alpha,
                beta=tuner.beta,
                **common,
            )
        case "hyperband":
            oracle = _Hyperband(
                max_epochs=epochs,
                factor=tuner.factor,
                hyperband_iterations=tuner.iterations,
                **common,
            )
    oracle.verbose = 0
    oracle.asker = asker
    return oracle


class _Journaled:
    """Mixed into each of Keras Tuner's oracles: no files, no failure limit of its own, and
    random points that are drawn by the sweep."""

    asker: Asker
    in_order = False
    """Whether it proposes points in an order of its own, so that one that does not fit is passed
    over; the others ask for one that does."""

    def save(self) -> None:
        """Write nothing: the journal is the record."""

    def _save_trial(self, trial: Any) -> None:
        """Write nothing: the journal is the record."""

    def _check_consecutive_failures(self) -> None:
        """Never raise: `sweep.max_failure_rate` decides, and this walks over all trials."""

    def _random_values(self) -> dict[str, Any] | None:
        """Return a fresh point; twenty repeats in a row, Keras Tuner's own limit, do not show
        that a space is used up (keras-team/keras-tuner#901)."""
        return self.asker.draw_fitting()


class _Random(_Journaled, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    """Random search."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Answer an ask."""
        recorded = self.asker.replayed()
        if recorded is not None:
            return {"status": "RUNNING", "values": recorded}
        return dict(super().populate_space(trial_id))


class _Grid(_Journaled, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc]
    """Every combination, in order, whichever trial ends first."""

    in_order = True

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Answer an ask. The next combination follows from this one, not from its score, so that
        nobody has to wait for that."""
        response = dict(super().populate_space(trial_id))
        if response["status"] == "RUNNING":
            self._populate_next.append(trial_id)
        return response

    def _get_next_combination(self, values: dict[str, Any]) -> dict[str, Any] | None:
        """Return the combination after this one, None after the last. Keras Tuner's own lists all
        values of each range to find it."""
        following = self.get_space()
        following.values = dict(values)
        # The last first, so that what hangs on a value changes before that value does.
        for hyperparameter in reversed(following.space):
            name = hyperparameter.name
            if following.is_active(hyperparameter):
                bumped = next_in_grid(hyperparameter, following.values[name])
                if bumped is not None:
                    following.values[name] = bumped
                    following.ensure_active_values()
                    return dict(following.values)
            following.values[name] = hyperparameter.default
        return None

    def _compare(self, one: dict[str, Any], other: dict[str, Any]) -> int:
        """Return -1, 0 or 1: whether a combination comes before another one, is it, or comes
        after."""
        for hyperparameter in self.get_space().space:
            name = hyperparameter.name
            if name in one and one[name] != other[name]:
                places = [place_in_grid(hyperparameter, each[name]) for each in (one, other)]
                return -1 if places[0] < places[1] else 1
        return 0


class _Bayesian(_Journaled, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """A Gaussian process's proposals."""

    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]

    def learn(self, trial_id: str, values: dict[str, Any], score: float) -> None:
        """Count the result of a trial that it has not asked for."""
        space = self.get_space()
        space.values = dict(values)
        trial = keras_tuner.engine.trial.Trial(space, trial_id, "COMPLETED")
        trial.score = score
        self.trials[trial_id] = trial
        self.end_order.append(trial_id)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Answer an ask; a proposal that was tried already, or is infeasible, becomes random.

        The surrogate ignores what failed and does not avoid repeats, so asking it again would
        give the same point again.
        """
        recorded = self.asker.replayed()
        if recorded is not None:
            return {"status": "RUNNING", "values": recorded}
        if not self._nonfixed_space() or len(self.end_order) < self._random_at_first():
            return dict(self._random_populate_space())
        # A fit that an earlier ask left behind would be missing after a resume.
        self.gpr = self._make_gpr()
        # Its matrices are small, and there are thousands of them: threads would cost more time
        # than they save, and change the last digits.
        with warnings.catch_warnings(), runtime.one_blas_thread():
            # On how well the surrogate fits; there is nothing that a user could do about it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._fit_to_the_told()
            response = super().populate_space(trial_id)
        if response["values"] is not None and not self.asker.fits(response["values"]):
            response = self._random_populate_space()
        return dict(response)

    def _random_at_first(self) -> int:
        """Return after how many answers the surrogate is asked, Keras Tuner's own rule; it would
        count them by going through all trials."""
        return int(self.num_initial_points or max(3 * len(self.hyperparameters.space), 3))

    def _fit_to_the_told(self) -> None:
        """Have the surrogate know the answers before it makes up those that are still to come: by
        a fresh one, each would be taken for 1, the worst or the best by far."""
        everything, running = self.trials, self.ongoing_trials
        if not running:
            return
        told = {key: trial for key, trial in everything.items() if trial.status == "COMPLETED"}
        if not told:
            return
        self.trials, self.ongoing_trials = told, {}
        try:
            points, scores = self._vectorize_trials()
            self.gpr.fit(points, np.nan_to_num(scores, posinf=0, neginf=0))
        finally:
            self.trials, self.ongoing_trials = everything, running

    def _vector_to_values(self, vector: Any) -> dict[str, Any]:
        # Probabilities are below 1: at 1 a whole number is taken for its maximum plus one.
        return dict(super()._vector_to_values(np.clip(vector, 0.0, 1.0 - 1e-9)))


class _Hyperband(_Journaled, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]
    """Successive halving in brackets. A bracket that the space has too few points for goes on
    with those it has, so that the best of a small space are trained to the end all the same."""

    _brackets: list[Any]
    _current_bracket: int
    _current_iteration: int
    _used_up = False

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Answer an ask. If the answer is to wait, the state is restored: such an ask is not
        journaled, so that a resume knows nothing of it."""
        before = (list(self._brackets), self._current_bracket, self._current_iteration)
        was_used_up = self._used_up
        response = dict(super().populate_space(trial_id))
        if response["status"] == "IDLE":
            self._brackets, self._current_bracket, self._current_iteration = before
            self._used_up = was_used_up
        return response

    def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        response = dict(super()._random_trial(trial_id, bracket))
        if response["status"] == "RUNNING" or self._used_up:
            return response
        self._used_up = True
        return dict(self.populate_space(trial_id))

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        size = int(super()._get_size(bracket_num, round_num))
        if not self._used_up:
            return size
        brackets = [b for b in self._brackets if b["bracket_num"] == bracket_num]
        there = max(len(bracket["rounds"][0]) for bracket in brackets)
        return min(size, math.ceil(there / float(self.factor**round_num)))
