"""A record of each kind, in an order that a sweep could have written."""

from __future__ import annotations

from dataclasses import replace

from search_fakes import ENVIRONMENT, config_with, train_at_once

from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.records import (
    SCHEMA,
    Asked,
    Begun,
    Bounded,
    Confirmed,
    Continued,
    Ended,
    EpochEnded,
    FoundInfeasible,
    Learnt,
    LookedAtOfficialTest,
    Observation,
    Paused,
    Record,
    Refitted,
    RunsIn,
    Stopped,
    Told,
    TrialStatus,
)

RESULT = train_at_once(config_with().run, 1)[1]
OF_FOLDS = replace(RESULT, folds=({"val_accuracy": 0.5}, {"val_accuracy": 0.25}))
EACH: list[Record] = [
    Begun(SCHEMA, "mine-é", {"space": {"a": [None, True, 0.1]}}, "python", 1.5),
    FoundInfeasible({"b": 2, "a": 1}, "too large", 2.0),
    Asked(0, 0, 0, 0, 1, "0000", {"b": 0, "a": 1}, {"train.seed": None, "a.pair": [3, 5]}, 2.5),
    EpochEnded(0, 1, {"loss": 1e-300, "val_loss": 0.1 + 0.2}, 3.0, ((5, 0.1), (10, 1e-17))),
    Told(0, 0, TrialStatus.COMPLETED, 0.5, RESULT, None, 1.25, 4.0),
    Asked(1, 1, 0, 0, 1, None, None, {}, 4.5),
    Told(1, 1, TrialStatus.FAILED, None, None, "it broke\u2028\n here", 0.0, 5.0),
    Confirmed(0, 2, 0.75, RESULT, 6.0),
    LookedAtOfficialTest(0, 0.5, 0.25, 10, "abc", 7.0),
    RunsIn(ENVIRONMENT, 7.5),
    Stopped(0, 1, 7.75),
    Asked(2, 2, 0, 0, 2, None, None, {}, 7.8),
    EpochEnded(2, 1, {"loss": 1.0}, 7.81, folds=({"loss": 0.5}, {"loss": 1.5})),
    Paused(2, 2, 0.5, OF_FOLDS, 0.5, 7.82),
    Continued(2, 2, 7.83),
    Bounded({}, 7.9),
    Refitted(2, RESULT, 7.95),
    Ended("enough", 8.0),
    Learnt(
        (Observation("old", 3, {"train.batch_size": 1}, (0.5, 0.75)),),
        ({"train.batch_size": 32},),
        1.75,
    ),
]
OBJECTIVE = Objective(metric="val_accuracy", direction="max")
