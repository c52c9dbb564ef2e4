"""Keras Tuner, and the only module that touches it: ask an oracle, tell it, feed it a journal.

The oracles are used without Keras Tuner's own `Tuner` and without its JSON files: the journal is
the record, and a fresh oracle that is fed the recorded asks and answers stands where the old one
stood. Each ask draws from (seed, number of the ask) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters as types

from fmnist_sweep.config.schema import Objective, TunerConfig
from fmnist_sweep.errors import ConfigError, SweepStopped
from fmnist_sweep.files import canonical_json
from fmnist_sweep.space.domains import Choice, Fixed, FloatRange, IntRange
from fmnist_sweep.space.space import Leaf, Space

_MOST_REJECTED = 10_000
"""Infeasible points in a row after which a space is taken to hold no feasible one any more."""


@dataclass(frozen=True)
class Suggestion:
    """A rung that the oracle proposes. `values` are Keras Tuner's, `point` the space's;
    `promoted_from` is the oracle's id of the rung that this one continues."""

    oracle_id: str
    values: dict[str, Any]
    point: dict[str, Any]
    promoted_from: str | None
    first_epoch: int
    last_epoch: int


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
        epochs: the epochs of a full training.
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
        self._epochs = epochs
        self._objective = objective
        self._why_infeasible = why_infeasible
        self._on_infeasible = on_infeasible
        self._replayed: dict[str, Any] | None = None
        self._oracle = _make_oracle(tuner, to_hyperparameters(space), objective, epochs, self)

    def ask(self, number: int) -> Answer:
        """Ask for a rung; `number` counts the asks and decides what is drawn."""
        self._seed(number)
        for _ in range(_MOST_REJECTED):
            trial = self._oracle.create_trial(f"ask-{number}")
            if trial.status == "IDLE":
                return Waiting()
            if trial.status == "STOPPED":
                return Exhausted()
            values = dict(trial.hyperparameters.values)
            if self._is_feasible(values):
                return self._suggestion(trial.trial_id, values)
            # Only a grid comes here: the others have drawn again already.
            trial.status = "FAILED"
            self._oracle.end_trial(trial)
        return Exhausted()

    def replay_ask(self, number: int, oracle_id: str, values: Mapping[str, Any]) -> None:
        """Take in a recorded ask.

        Raises:
            SweepStopped: this oracle would have proposed another rung.
        """
        # A surrogate is not fitted again, nor a random point drawn again: neither leaves
        # anything behind. A grid's and Hyperband's bookkeeping has to be gone through.
        self._replayed = dict(values) if self._tuner.name in ("random", "bayesian") else None
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

    def replay_infeasible(self, values: Mapping[str, Any]) -> None:
        """Take in a recorded infeasible proposal: it is not to be drawn again."""
        self._oracle._tried_so_far.add(self._oracle._compute_values_hash(dict(values)))

    def tell(self, oracle_id: str, score: float | None) -> None:
        """Report a rung's score, None where it failed."""
        trial = self._oracle.get_trial(oracle_id)
        if score is None and self._tuner.name == "hyperband":
            # A failed trial would take a place in its bracket with it (three failures of nine
            # promote nobody), so it counts as the worst there is.
            score = float("-inf") if self._objective.direction == "max" else float("inf")
        if score is None:
            trial.status = "FAILED"
        else:
            self._oracle.update_trial(oracle_id, {self._objective.metric: score}, step=0)
            trial.status = "COMPLETED"
        self._oracle.end_trial(trial)

    # What the oracle itself calls back, through `_Journaled`.

    def populate(self, trial_id: str, propose: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """Answer an ask: what was recorded, or what the oracle proposes."""
        if self._replayed is not None:
            return {"status": "RUNNING", "values": dict(self._replayed)}
        return propose(trial_id)

    def draw_feasible(self, draw: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        """Draw until a point is feasible; None when the space has none left."""
        for _ in range(_MOST_REJECTED):
            values = draw()
            if values is None or self._is_feasible(values):
                return values
            self._oracle._tried_so_far.add(self._oracle._compute_values_hash(values))
        return None

    def _is_feasible(self, values: Mapping[str, Any]) -> bool:
        reason = self._why_infeasible(decode(self._space, values))
        if reason is not None:
            self._on_infeasible(
                {k: v for k, v in values.items() if not k.startswith("tuner/")}, reason
            )
        return reason is None

    def _seed(self, number: int) -> None:
        state = np.random.RandomState([self._tuner.seed, number])
        self._oracle._seed_state = int(state.randint(2**31 - 1))
        self._oracle._random_state = state  # the Bayesian oracle's restarts

    def _suggestion(self, oracle_id: str, values: dict[str, Any]) -> Suggestion:
        return Suggestion(
            oracle_id=oracle_id,
            values=values,
            point=decode(self._space, values),
            promoted_from=values.get("tuner/trial_id"),
            first_epoch=values.get("tuner/initial_epoch", 0),
            last_epoch=values.get("tuner/epochs", self._epochs),
        )


def to_hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Declare a space to Keras Tuner, whole and up front.

    A choice is declared as the index of its value, so that booleans, null and pairs survive.
    """
    hyperparameters = keras_tuner.HyperParameters()
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    for leaf in space.leaves:
        # Conditions are given as Keras Tuner writes them: nested `conditional_scope`s accept a
        # parent only where it was declared under just the scopes that are open, so not two.
        parents = [
            {
                "class_name": "Parent",
                "config": {
                    "name": condition.path,
                    "values": _encode_all(domains[condition.path], condition.values),
                },
            }
            for condition in leaf.conditions
        ]
        hyperparameters.merge([_declaration(leaf, parents)])
    return hyperparameters


def decode(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the space's values for Keras Tuner's, of the leaves that exist at that point."""
    point: dict[str, Any] = {}
    for leaf in space.leaves:
        if leaf.path in values:
            value = values[leaf.path]
            match leaf.domain:
                case Choice(choices):
                    point[leaf.path] = choices[value]
                case Fixed(fixed):
                    point[leaf.path] = fixed
                case FloatRange() as numbers:
                    point[leaf.path] = numbers.tidy(value)
                case IntRange():
                    point[leaf.path] = int(value)
    return point


def sample_points(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Draw points of a space at random, independently, feasible or not."""
    declared = to_hyperparameters(space)
    points = []
    for number in range(count):
        state = np.random.RandomState([seed, number])
        drawn = keras_tuner.HyperParameters()
        for hyperparameter in declared.space:
            drawn.merge([hyperparameter])
            if drawn.is_active(hyperparameter):
                value = hyperparameter.random_sample(int(state.randint(2**31 - 1)))
                drawn.values[hyperparameter.name] = value
        points.append(decode(space, drawn.values))
    return points


class _Journaled:
    """Mixed into each of Keras Tuner's oracles: no files, no failure limit of its own, and
    only feasible points."""

    sweep: SearchOracle

    def save(self) -> None:
        """Write nothing: the journal is the record."""

    def _save_trial(self, trial: Any) -> None:
        """Write nothing: the journal is the record."""

    def _check_consecutive_failures(self) -> None:
        """Never raise: `sweep.max_failure_rate` decides, and this walks over all trials."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Answer an ask."""
        return self.sweep.populate(trial_id, super().populate_space)  # type: ignore[misc]

    def _random_values(self) -> dict[str, Any] | None:
        return self.sweep.draw_feasible(super()._random_values)  # type: ignore[misc]


class _Random(_Journaled, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    """Random search."""


class _Grid(_Journaled, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc]
    """Every combination, in order."""


class _Hyperband(_Journaled, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]
    """Successive halving in brackets."""


class _Bayesian(_Journaled, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """A Gaussian process's proposals."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Answer an ask; a proposal that was tried already, or is infeasible, becomes random.

        The surrogate ignores what failed and does not avoid repeats, so asking it again would
        give the same point again.
        """
        response = super().populate_space(trial_id)
        values = response["values"]
        if self.sweep._replayed is None and values is not None:
            tried = self._compute_values_hash(values) in self._tried_so_far
            if tried or not self.sweep._is_feasible(values):
                response = self._random_populate_space()
        return dict(response)


def _make_oracle(
    tuner: TunerConfig,
    hyperparameters: keras_tuner.HyperParameters,
    objective: Objective,
    epochs: int,
    sweep: SearchOracle,
) -> Any:
    common = {
        "objective": keras_tuner.Objective(objective.metric, objective.direction),
        "hyperparameters": hyperparameters,
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": tuner.seed + 1,  # Keras Tuner takes 0 for "draw one"
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
    # Twenty repeats in a row do not show that a space is used up (keras-team/keras-tuner#901).
    oracle._max_collisions = 1000
    oracle.verbose = 0
    oracle.sweep = sweep
    return oracle


def _declaration(leaf: Leaf, parents: list[dict[str, Any]]) -> types.HyperParameter:
    config: dict[str, Any] = {"name": leaf.path, "conditions": parents}
    match leaf.domain:
        case Choice(values):
            return types.Choice.from_config({**config, "values": list(range(len(values)))})
        case Fixed():
            return types.Fixed.from_config({**config, "value": 0})
        case IntRange(low, high, step, log) | FloatRange(low, high, step, log):
            kind = types.Int if isinstance(leaf.domain, IntRange) else types.Float
            scale = {"step": step, "sampling": "log" if log else "linear"}
            return kind.from_config({**config, "min_value": low, "max_value": high, **scale})


def _encode_all(domain: Any, values: tuple[Any, ...]) -> list[int]:
    match domain:
        case Choice() as choice:
            indices = [choice.index_of(value) for value in values]
            return [index for index in indices if index is not None]
        case Fixed():
            return [0]
        case IntRange():
            return list(values)
    raise ConfigError(f"a condition cannot hang on {domain}")
