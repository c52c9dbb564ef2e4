"""From a scheduler's suggestion to a rung; outcomes that are known without training."""

from __future__ import annotations

import time
from typing import Any

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import SweepConfig
from fmnist_sweep.executors.protocol import RungOutcome, TrainedElsewhere
from fmnist_sweep.journal.records import Asked
from fmnist_sweep.journal.scores import value_of
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.tuners.search import Suggestion


def first_rung(
    state: SweepState, answer: Suggestion, overrides: dict[str, Any], full: int
) -> Asked:
    """Return a new trial's first rung; `full`: the epochs of its full training."""
    return Asked(
        ask=len(state.asks),
        trial=len(state.trials),
        rung=0,
        first_epoch=0,
        last_epoch=full if answer.last_epoch is None else answer.last_epoch,
        oracle_id=answer.id,
        values=answer.values,
        overrides=overrides,
        at=time.time(),
    )


def promotion(state: SweepState, answer: Suggestion) -> Asked:
    """Return the next rung of the trial that goes on."""
    assert answer.trial is not None
    assert answer.last_epoch is not None  # a promotion's
    trial = state.trials[answer.trial]
    return Asked(
        ask=len(state.asks),
        trial=trial.number,
        rung=trial.rung + 1,
        first_epoch=answer.first_epoch,
        last_epoch=answer.last_epoch,
        oracle_id=answer.id,
        values=answer.values,
        overrides=trial.overrides,
        at=time.time(),
    )


def known_outcome(trial: Trial) -> RungOutcome | None:
    """Return the outcome of a rung that is not trained, None if it has to be.

    Keras Tuner's Hyperband promotes trials that failed, which it counts as completed with the worst
    score, and trials that were stopped.
    """
    if trial.reason is not None:
        return RungOutcome(None, trial.reason, 0.0)
    if trial.result is not None and trial.result.last_epoch == trial.stopped_at:
        return RungOutcome(trial.result, None, 0.0)
    return None


def with_all_scores(outcome: RungOutcome, sweep: SweepConfig) -> RungOutcome:
    """Return the outcome; a failure if its result lacks an objective, as that of an executor of the
    caller's own may, which measures no costs."""
    for objective in sweep.further_objectives:
        if outcome.result is not None and value_of(outcome.result, objective.metric) is None:
            reason = f"its result has no {objective.metric}, which is one of sweep.objectives"
            return RungOutcome(None, reason, outcome.seconds)
    return outcome


def trained_elsewhere(record: EpochRecord, here: Environment) -> tuple[Environment, str] | None:
    """Return the environment and the host of the worker that trained an epoch; None: this process.

    The command and the state of the checkout are those of the owner, `here`: a worker has the same
    code.
    """
    place = record.place if isinstance(record, TrainedElsewhere) else None
    if place is None:
        return None
    ours = {name: getattr(here, name) for name in ("git_commit", "git_changed", "command")}
    return place.environment.model_copy(update=ours), place.host
