"""Keras Tuner's oracles behind the seams of tuner and scheduler.

They are used without Keras Tuner's own `Tuner` and without its JSON files: the journal is the
record, and a fresh oracle that is given the recorded asks and answers stands where the old one
stood. Each ask draws from (seed, number of the ask) alone.
"""

from __future__ import annotations

import math
from typing import Any

from fmnist_sweep.config.tuner_schema import HyperbandTuner, TunerConfig
from fmnist_sweep.errors import ConfigError, SweepStopped
from fmnist_sweep.files import canonical_json
from fmnist_sweep.journal.records import Asked, FoundInfeasible, Learnt, Record, Told
from fmnist_sweep.tuners.oracles import make_oracle
from fmnist_sweep.tuners.points import Points
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem, Waiting
from fmnist_sweep.tuners.search import Answer, Suggestion

_Counts = Asked | Told | FoundInfeasible | Learnt


class _Fed:
    """An oracle, and the records that brought it to where it stands."""

    def __init__(self, problem: SearchProblem, settings: TunerConfig) -> None:
        self._problem = problem
        self._settings = settings
        self._records: list[_Counts] = []
        self._begin()

    def _begin(self) -> None:
        self._points = Points(self._problem)
        self._id_of: dict[int, str] = {}  # by trial: its latest, in the oracle
        self._trial_of: dict[str, int] = {}
        self._replayed: dict[str, Any] | None = None
        self._proposed: str | None = None  # not recorded yet
        epochs = self._problem.epochs or 0
        self._oracle = make_oracle(
            self._settings, self._points.hyperparameters, self._problem.objective, epochs, self
        )

    @property
    def name(self) -> str:
        """The tuner's name in the config."""
        return f"tuner {self._settings.name}"

    @property
    def is_used_up(self) -> bool:
        """Whether each point of the space was proposed or found infeasible; False for a space
        with more points than are listed."""
        return self._proposed is None and self._points.all_tried

    def apply(self, record: Record) -> None:
        """Take in a record.

        Raises:
            SweepStopped: this oracle would have proposed another rung.
        """
        if not isinstance(record, _Counts):
            return
        self._records.append(record)
        is_proposed = isinstance(record, Asked) and record.oracle_id == self._proposed
        if self._proposed is None or is_proposed:
            self._take_in(record)
            return
        # The oracle counts on a rung that no budget allowed: a resume knows nothing of it.
        self._begin()
        for each in self._records:
            self._take_in(each)

    def _take_in(self, record: _Counts) -> None:
        match record:
            case Learnt():
                self._points.after(record)
                for one in record.observations:
                    self._oracle.learn(f"{one.sweep}/{one.trial}", one.values, one.scores[-1])
            case FoundInfeasible():
                self._points.add(record.values)  # not to be drawn again
            case Asked(oracle_id=str(oracle_id), values=dict(values)):
                if oracle_id != self._proposed:
                    self._ask_again(record.ask, oracle_id, values)
                self._proposed = None
                self._id_of[record.trial] = oracle_id
                self._trial_of[oracle_id] = record.trial
            case Told() if record.trial in self._id_of:
                self._tell(self._id_of[record.trial], record.score)

    def _ask(self, number: int) -> Any | Waiting | Exhausted:
        """Have the oracle create a trial of its own, and return that."""
        self._oracle._random_state = self._points.draws_from(number)
        while True:
            trial = self._oracle.create_trial(f"ask-{number}")
            if trial.status == "IDLE":
                return Waiting()
            if trial.status == "STOPPED":
                return Exhausted()
            values = trial.hyperparameters.values
            # The others have drawn again already; a grid goes on from what it has proposed.
            if not self._oracle.in_order or self._goes_on_with(values):
                self._points.add(values)
                self._proposed = trial.trial_id
                return trial
            trial.status = "FAILED"
            self._oracle.end_trial(trial)

    def _ask_again(self, number: int, oracle_id: str, values: dict[str, Any]) -> None:
        # A surrogate is not fitted again, nor a random point drawn again: neither leaves
        # anything behind. The bookkeeping of a grid and of Hyperband is repeated.
        self._replayed = values
        trial = self._ask(number)
        self._replayed = None
        if isinstance(trial, Waiting | Exhausted) or (
            (trial.trial_id, canonical_json(trial.hyperparameters.values))
            != (oracle_id, canonical_json(values))
        ):
            raise SweepStopped(
                f"ask {number} of the journal is not what {self.name} asks now; "
                "was the sweep begun with another version of Keras Tuner?"
            )

    def _tell(self, oracle_id: str, score: float | None) -> None:
        trial = self._oracle.get_trial(oracle_id)
        if trial.status in ("COMPLETED", "FAILED"):  # a later rung of the same point
            trial.score = trial.score if score is None else score
            return
        if score is None:
            trial.status = "FAILED"
        else:
            self._oracle.update_trial(oracle_id, {self._problem.objective.metric: score}, step=0)
            trial.status = "COMPLETED"
        self._oracle.end_trial(trial)

    # What the oracle itself calls back: see `oracles.Asker`.

    def replayed(self) -> dict[str, Any] | None:
        """Return the values of the recorded ask that is taken in, or None."""
        return self._replayed

    def fits(self, values: dict[str, Any]) -> bool:
        """Whether a point is feasible and was not tried before."""
        return self._points.fits(values)

    def draw_fitting(self) -> dict[str, Any] | None:
        """Draw a point that fits at random; None if the space has none left."""
        return self._points.draw_fitting()

    def _goes_on_with(self, values: dict[str, Any]) -> bool:
        """Whether a grid's proposal is to be tried, or passed over. What is recorded was found
        feasible then; what a journal has as infeasible came before."""
        if self._replayed is not None:
            return not self._points.was_tried(values)
        return self.fits(values)


class KerasTuner(_Fed):
    """`random`, `grid` or `bayesian` as a tuner."""

    @property
    def ends_by_itself(self) -> bool:
        """Whether it goes through the space in order."""
        return bool(self._oracle.in_order)

    def propose(self, number: int) -> Proposal | Waiting | Exhausted:
        """Propose a point."""
        trial = self._ask(number)
        if isinstance(trial, Waiting | Exhausted):
            return trial
        values = dict(trial.hyperparameters.values)
        return Proposal(trial.trial_id, values, self._points.point(values))


class KerasHyperband(_Fed):
    """`hyperband`: tuner and scheduler at once.

    Raises:
        ConfigError: trainings have no budget in epochs.
    """

    start_with_epochs = None

    def __init__(self, problem: SearchProblem, settings: HyperbandTuner) -> None:
        if problem.epochs is None:
            raise ConfigError("train.epochs=null: hyperband needs a budget in epochs")
        self._epochs, self._factor = problem.epochs, settings.factor
        self.ends_by_itself = settings.iterations is not None
        super().__init__(problem, settings)

    @property
    def first_rung_epochs(self) -> int:
        """The epochs that a trial of the most aggressive bracket gets at first."""
        share = 1
        while self._epochs >= share * self._factor:
            share *= self._factor
        return math.ceil(self._epochs / share)

    def ask(self, number: int, *, new_trials: bool) -> Answer:
        """Suggest a rung; a new one whether wanted or not, since the oracle knows no promotions
        alone."""
        trial = self._ask(number)
        if isinstance(trial, Waiting | Exhausted):
            return trial
        values = dict(trial.hyperparameters.values)
        parent = values.get("tuner/trial_id")
        return Suggestion(
            trial.trial_id,
            values,
            self._points.point(values),
            None if parent is None else self._trial_of[parent],
            values.get("tuner/initial_epoch", 0),
            values["tuner/epochs"],
        )

    def _tell(self, oracle_id: str, score: float | None) -> None:
        # A failed trial would take a place in its bracket with it (three failures of nine
        # promote nobody), so it counts as the worst there is.
        worst = -self._problem.objective.sign * math.inf
        super()._tell(oracle_id, worst if score is None else score)

    def may_go_on(self, trial: int) -> bool:
        """Whether the bracket has a place left for it."""
        oracle_id = self._id_of.get(trial)
        for bracket in self._oracle._brackets:
            for number, rungs in enumerate(bracket["rounds"][:-1], start=1):
                if any(rung["id"] == oracle_id for rung in rungs):
                    promoted = bracket["rounds"][number]
                    places = self._oracle._get_size(bracket["bracket_num"], number)
                    return len(promoted) < places and all(
                        rung["past_id"] != oracle_id for rung in promoted
                    )
        return False

    def ends_now(self, trial: int) -> bool:
        """Return False: trials are trained to the ends of their rungs."""
        return False

    @property
    def is_used_up(self) -> bool:
        """Return False: what may still be promoted is not looked up."""
        return False
