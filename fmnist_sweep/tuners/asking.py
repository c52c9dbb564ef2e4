"""Ask an oracle, tell it, feed it a journal.

The oracles are used without Keras Tuner's own `Tuner` and without its JSON files: the journal is
the record, and a fresh oracle that is fed the recorded asks and answers stands where the old one
stood. Each ask draws from (seed, number of the ask) alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fmnist_sweep.config.schema import Objective
from fmnist_sweep.config.tuner_schema import TunerConfig
from fmnist_sweep.errors import SweepStopped
from fmnist_sweep.files import canonical_json
from fmnist_sweep.journal.records import Asked, FoundInfeasible, Record, Told
from fmnist_sweep.space.space import Space
from fmnist_sweep.tuners.encoding import all_points, decode, draw, to_hyperparameters
from fmnist_sweep.tuners.keras_tuner import make_oracle

_MOST_DRAWS = 10_000
"""Draws in a row, none of which fits, after which an infinite space is taken to be used up."""
_DRAWS_BEFORE_LISTING = 200
_MOST_LISTED = 10_000
"""A space of no more points is known to be used up only when each of them has been tried."""


@dataclass(frozen=True)
class Suggestion:
    """A rung that the oracle proposes. `values` are Keras Tuner's, `point` the space's;
    `promoted_from` is the oracle's id of the rung that this one continues. Hyperband says which
    epochs are to be trained; for the other tuners, `last_epoch` None, it is the whole training."""

    oracle_id: str
    values: dict[str, Any]
    point: dict[str, Any]
    promoted_from: str | None
    first_epoch: int
    last_epoch: int | None


class Waiting:
    """The oracle cannot go on before it is told more."""


class Exhausted:
    """The oracle has nothing more to propose."""


Answer = Suggestion | Waiting | Exhausted


class SearchOracle:
    """One of Keras Tuner's oracles, as a sweep needs it.

    Args:
        tuner: which one, with its settings.
        space: what it searches.
        objective: the metric it is told.
        epochs: the epochs of a full training, for Hyperband.
        why_infeasible: says of a point why it cannot be tried, or None.
        on_infeasible: told of each infeasible proposal once, with its values and the reason.
    """

    def __init__(
        self,
        tuner: TunerConfig,
        space: Space,
        objective: Objective,
        epochs: int,
        why_infeasible: Callable[[Mapping[str, Any]], str | None],
        on_infeasible: Callable[[dict[str, Any], str], None],
    ) -> None:
        self._space = space
        self._tuner = tuner
        self._objective = objective
        self._why_infeasible = why_infeasible
        self._on_infeasible = on_infeasible
        self._hyperparameters = to_hyperparameters(space)
        self._tried: set[str] = set()
        self._replayed: dict[str, Any] | None = None
        self._random = np.random.RandomState()  # seeded anew by each ask
        self._oracle = make_oracle(tuner, self._hyperparameters, objective, epochs, self)

    def ask(self, number: int) -> Answer:
        """Ask for a rung; `number` counts the asks and decides what is drawn."""
        self._random = np.random.RandomState([self._tuner.seed, number])
        self._oracle._random_state = self._random  # where the Bayesian oracle starts to look
        while True:
            trial = self._oracle.create_trial(f"ask-{number}")
            if trial.status == "IDLE":
                return Waiting()
            if trial.status == "STOPPED":
                return Exhausted()
            values = dict(trial.hyperparameters.values)
            # The others have drawn again already; a grid goes on from what it has proposed.
            if self._tuner.name != "grid" or self._goes_on_with(values):
                return self._suggestion(trial.trial_id, values)
            trial.status = "FAILED"
            self._oracle.end_trial(trial)

    def replay(self, records: Iterable[Record]) -> None:
        """Take in a journal's records, which brings a fresh oracle to where they end.

        Raises:
            SweepStopped: this oracle would have proposed another rung.
        """
        of_ask: dict[int, str | None] = {}
        for record in records:
            match record:
                case FoundInfeasible():
                    self._tried.add(self._key(record.values))  # not to be drawn again
                case Asked(oracle_id=oracle_id, values=values):
                    of_ask[record.ask] = oracle_id
                    if oracle_id is not None and values is not None:
                        self.replay_ask(record.ask, oracle_id, values)
                case Told(ask=ask) if (oracle_id := of_ask[ask]) is not None:
                    self.tell(oracle_id, record.score)

    def replay_ask(self, number: int, oracle_id: str, values: Mapping[str, Any]) -> None:
        """Take in a recorded ask.

        Raises:
            SweepStopped: this oracle would have proposed another rung.
        """
        # A surrogate is not fitted again, nor a random point drawn again: neither leaves
        # anything behind. A grid's and Hyperband's bookkeeping has to be gone through.
        self._replayed = dict(values)
        answer = self.ask(number)
        self._replayed = None
        if not isinstance(answer, Suggestion) or (
            (answer.oracle_id, canonical_json(answer.values))
            != (oracle_id, canonical_json(dict(values)))
        ):
            raise SweepStopped(
                f"ask {number} of the journal is not what tuner {self._tuner.name} asks now; "
                "was the sweep begun with another version of Keras Tuner?"
            )

    def tell(self, oracle_id: str, score: float | None) -> None:
        """Report a rung's score, None where it failed."""
        trial = self._oracle.get_trial(oracle_id)
        if score is None and self._tuner.name == "hyperband":
            # A failed trial would take a place in its bracket with it (three failures of nine
            # promote nobody), so it counts as the worst there is.
            score = -self._objective.sign * math.inf
        if score is None:
            trial.status = "FAILED"
        else:
            self._oracle.update_trial(oracle_id, {self._objective.metric: score}, step=0)
            trial.status = "COMPLETED"
        self._oracle.end_trial(trial)

    def may_promote(self, oracle_id: str) -> bool:
        """Whether a later rung may go on where this one ended; only Hyperband's do."""
        if self._tuner.name != "hyperband":
            return False
        for bracket in self._oracle._brackets:
            for number, rungs in enumerate(bracket["rounds"][:-1], start=1):
                if any(rung["id"] == oracle_id for rung in rungs):
                    promoted = bracket["rounds"][number]
                    places = self._oracle._get_size(bracket["bracket_num"], number)
                    return len(promoted) < places and all(
                        rung["past_id"] != oracle_id for rung in promoted
                    )
        return False

    @property
    def is_used_up(self) -> bool:
        """Whether each point of the space was proposed or found infeasible; of a space with more
        points than are listed, and of Hyperband, which may promote, that is not known."""
        if self._tuner.name == "hyperband" or self._listed is None:
            return False
        return all(self._key(values) in self._tried for values in self._listed)

    # What the oracle itself calls back.

    def replayed(self) -> dict[str, Any] | None:
        """Return the values of the recorded ask that is taken in, or None."""
        return self._replayed

    def fits(self, values: Mapping[str, Any]) -> bool:
        """Whether a point is feasible and was not tried before."""
        key = self._key(values)
        if key in self._tried:
            return False
        reason = self._why_infeasible(decode(self._space, values))
        if reason is None:
            return True
        self._tried.add(key)
        self._on_infeasible(dict(values), reason)
        return False

    def draw_fitting(self) -> dict[str, Any] | None:
        """Draw a point that fits at random, None where the space has none left."""
        return next((values for values in self._candidates() if self.fits(values)), None)

    def _candidates(self) -> Iterator[dict[str, Any]]:
        listed = self._listed
        for _ in range(_MOST_DRAWS if listed is None else _DRAWS_BEFORE_LISTING):
            yield draw(self._hyperparameters, self._random)
        if listed is not None:
            # Shuffled as a whole, whatever was tried: a resume comes to the same point.
            for index in self._random.permutation(len(listed)):
                yield dict(listed[index])

    @cached_property
    def _listed(self) -> list[dict[str, Any]] | None:
        return all_points(self._space, self._hyperparameters, _MOST_LISTED)

    def _goes_on_with(self, values: dict[str, Any]) -> bool:
        """Whether a grid's proposal is to be tried, or passed over. What is recorded was found
        feasible then; what a journal has as infeasible came before."""
        return self._key(values) not in self._tried if self._replayed else self.fits(values)

    def _key(self, values: Mapping[str, Any]) -> str:
        return canonical_json(decode(self._space, values))

    def _suggestion(self, oracle_id: str, values: dict[str, Any]) -> Suggestion:
        self._tried.add(self._key(values))
        return Suggestion(
            oracle_id=oracle_id,
            values=values,
            point=decode(self._space, values),
            promoted_from=values.get("tuner/trial_id"),
            first_epoch=values.get("tuner/initial_epoch", 0),
            last_epoch=values.get("tuner/epochs"),
        )
