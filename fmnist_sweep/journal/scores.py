"""The scores of a trial: what its result has of each objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from fmnist_sweep.config.messages import one_line
from fmnist_sweep.config.metrics import PARAMETERS
from fmnist_sweep.config.objective_schema import AnyObjective, Bound
from fmnist_sweep.dominance import on_front
from fmnist_sweep.journal.records import Bounded, Paused, Told
from fmnist_sweep.training.results import RunResult


def further_objectives_of(identity: Mapping[str, Any]) -> tuple[AnyObjective, ...]:
    """Return the objectives of a sweep's identity beside the first.

    Raises:
        ValueError: one is not registered here.
    """
    found = []
    for number, given in enumerate(identity.get("objectives", ())):
        try:
            found.append(AnyObjective.model_validate(given))
        except ValidationError as error:
            raise ValueError(f"objectives.{number}.{one_line(error, given)}") from error
    return tuple(found[1:])


def value_of(result: RunResult, name: str) -> float | None:
    """Return a metric or a cost of a training, `val_*` of its best epoch; None if it has none, such
    as one of an earlier version."""
    if name == PARAMETERS:
        return float(result.parameters)
    return {**result.best_metrics, **result.of_test_set, **result.costs}.get(name)


def scores_of(record: Told | Paused, objectives: Sequence[AnyObjective]) -> tuple[float, ...]:
    """Return a rung's scores, in the order of the objectives; of a failed one none.

    Raises:
        ValueError: the result lacks a further objective.
    """
    if record.score is None:
        return ()
    scores = [record.score]
    for objective in objectives[1:]:
        value = None if record.result is None else value_of(record.result, objective.metric)
        if value is None:
            raise ValueError(f"the result of ask {record.ask} has no {objective.metric}")
        scores.append(value)
    return tuple(scores)


def costs_of(scores: Sequence[float], objectives: Sequence[AnyObjective]) -> tuple[float, ...]:
    """Return scores of which lower is better in each objective."""
    return tuple(-o.sign * score for o, score in zip(objectives, scores, strict=True))


def front_of(
    scores: Mapping[int, Sequence[float]], objectives: Sequence[AnyObjective]
) -> frozenset[int]:
    """Return the trials on the Pareto front of several objectives; with one objective none."""
    if len(objectives) == 1 or not scores:
        return frozenset()
    costs = np.array([costs_of(own, objectives) for own in scores.values()], dtype=np.float64)
    on = on_front(-costs)
    return frozenset(trial for trial, is_on in zip(scores, on, strict=True) if is_on)


def bounds_of(record: Bounded, further: Sequence[AnyObjective]) -> dict[str, Bound]:
    """Return the recorded bounds.

    Raises:
        ValueError: one is of no further objective.
    """
    names = {objective.metric for objective in further}
    if not record.bounds.keys() <= names:
        raise ValueError(f"bounds of {', '.join(record.bounds)}, which are no objectives")
    return {name: Bound.model_validate(bound) for name, bound in record.bounds.items()}


def is_within(
    scores: Sequence[float], objectives: Sequence[AnyObjective], bounds: Mapping[str, Bound]
) -> bool:
    """Whether scores are within all bounds, which are given by the objectives' names."""
    by_name = {o.metric: score for o, score in zip(objectives, scores, strict=True)}
    return all(bound.allows(by_name[name]) for name, bound in bounds.items())
