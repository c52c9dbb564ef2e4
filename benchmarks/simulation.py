"""Simulated searches over a table of learning curves: no training, only the time of one.

Shared by the benchmarks. `curves.csv`, written by `make_curves.py`, has the validation accuracy
after each epoch, and the seconds of an epoch, of every point of a grid.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import Config
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.records import (
    Asked,
    EpochEnded,
    FoundInfeasible,
    Learnt,
    Observation,
    Record,
    Stopped,
    Told,
    TrialStatus,
)
from fmnist_sweep.schedulers.opening import OwnSearch, open_scheduler
from fmnist_sweep.space.domains import Choice
from fmnist_sweep.space.space import Leaf, Space
from fmnist_sweep.tuners.protocol import SearchProblem
from fmnist_sweep.tuners.search import Suggestion

METRIC = "val_accuracy"
OBJECTIVE = Objective(metric=METRIC, direction="max")
CURVES = Path(__file__).with_name("curves.csv")


class Curves:
    """A table of learning curves.

    Args:
        path: the file.
        smaller: without the points that have the last value of a choice of three or more.

    Attributes:
        choices: the grid: path -> values.
        accuracies: of a point, after each epoch, shape (epochs,).
        seconds: of a point's epochs, shape (epochs,); the first one includes tracing.
        training: the mean seconds of all epochs of a point.
        best: the highest accuracy in the table.
        start: the median of the points' best accuracies.
    """

    def __init__(self, path: Path = CURVES, *, smaller: bool = False) -> None:
        rows = pd.read_csv(path)
        paths = list(rows.columns[: rows.columns.get_loc("first_seconds")])
        for name in paths if smaller else ():
            if rows[name].nunique() > 2:
                rows = rows[rows[name] < rows[name].max()]
        accuracies = rows.filter(like="accuracy_").to_numpy()
        self.epochs = accuracies.shape[1]
        seconds = np.repeat(rows[["seconds"]].to_numpy(), self.epochs, axis=1)
        seconds[:, 0] = rows["first_seconds"]
        self.choices = {path: sorted(set(rows[path].tolist())) for path in paths}
        keys = [self.key(point) for point in rows[paths].to_dict("records")]
        self.accuracies: dict[str, NDArray[np.float64]] = dict(zip(keys, accuracies, strict=True))
        self.seconds: dict[str, NDArray[np.float64]] = dict(zip(keys, seconds, strict=True))
        self.training = float(seconds.sum(axis=1).mean())
        self.best = float(accuracies.max())
        self.start = float(np.median(accuracies.max(axis=1)))

    def key(self, point: Mapping[str, Any]) -> str:
        """Return the name of a point in `accuracies` and `seconds`."""
        return json.dumps([point[path] for path in self.choices])


@dataclass(frozen=True)
class Job:
    """Epochs `first + 1` to `last` of a trial, whose point is known by its key. `handle`: what the
    search needs to know it by."""

    key: str
    first: int
    last: int
    handle: Any


class Search(Protocol):
    """A tuner and scheduler of ours, or a peer."""

    def next_job(self) -> Job | None:
        """Return what a free worker trains; None: it waits until another job ends."""

    def end_epoch(self, job: Job, epoch: int, accuracy: float) -> bool:
        """Take in an epoch's accuracy; return whether the job ends now, before its last epoch."""

    def end_job(self, job: Job, epoch: int) -> None:
        """Take in that a job ended after that epoch."""


@dataclass(frozen=True)
class Found:
    """The best accuracy from each of these simulated seconds on, and what was trained."""

    seconds: list[float]
    accuracies: list[float]
    epochs: int

    def at(self, times: NDArray[np.float64], nothing: float) -> NDArray[np.float64]:
        """Return the best accuracy at each of the times; `nothing` before the first."""
        places = np.searchsorted(self.seconds, times, side="right")
        return np.array([nothing, *self.accuracies])[places]


def simulate(curves: Curves, search: Search, workers: int, until: float) -> Found:
    """Run a search whose epochs take their recorded seconds, and its own work none."""
    events: list[tuple[float, int, Job, int]] = []  # (end, order, job, epoch)
    order = itertools.count()
    found = Found([], [], 0)
    epochs, now, free = 0, 0.0, workers

    def begin_epoch(job: Job, epoch: int) -> None:
        heapq.heappush(events, (now + curves.seconds[job.key][epoch - 1], next(order), job, epoch))

    while True:
        while free and (job := search.next_job()) is not None:
            free -= 1
            begin_epoch(job, job.first + 1)
        if not events or events[0][0] > until:
            return Found(found.seconds, found.accuracies, epochs)
        now, _, job, epoch = heapq.heappop(events)
        epochs += 1
        accuracy = float(curves.accuracies[job.key][epoch - 1])
        if not found.accuracies or accuracy > found.accuracies[-1]:
            found.seconds.append(now)
            found.accuracies.append(accuracy)
        if search.end_epoch(job, epoch, accuracy) or epoch == job.last:
            search.end_job(job, epoch)
            free += 1
        else:
            begin_epoch(job, epoch + 1)


class Ours:
    """A tuner and a scheduler of this package, driven by the records that a journal would have.

    Args:
        curves: the table.
        config: `config_of(overrides)`.
        seed: the tuner's.
        earlier: a search over the same table or a smaller one, from which the tuner learns.
    """

    def __init__(
        self, curves: Curves, config: Config, seed: int, earlier: Ours | None = None
    ) -> None:
        self._curves = curves
        self._epochs = curves.epochs
        self._trials: list[int] = []  # by ask
        self._points: list[dict[str, Any]] = []  # by trial
        self._best: dict[int, list[float]] = {}  # by trial, up to each epoch
        leaves = (Leaf(name, Choice(tuple(values))) for name, values in curves.choices.items())
        problem = SearchProblem(
            Space(tuple(leaves), {}), seed, OBJECTIVE, self._epochs, lambda point: None, infeasible
        )
        tuner = config.tuner.model_copy(update={"seed": seed})
        config = config.model_copy(update={"tuner": tuner})
        self._search = open_scheduler(config, problem, OwnSearch())
        if earlier is not None:
            self._apply(Learnt(earlier.observations(curves), (), at=0.0))

    def observations(self, curves: Curves) -> tuple[Observation, ...]:
        """Return what the trials so far show about a table, as `sweep.learn_from` has it."""
        return tuple(
            Observation(
                "earlier",
                trial,
                {path: choices.index(point[path]) for path, choices in curves.choices.items()},
                tuple(self._best[trial]),
            )
            for trial, point in enumerate(self._points)
            if trial in self._best
        )

    def next_job(self) -> Job | None:
        """Ask the scheduler."""
        number = len(self._trials)
        answer = self._search.ask(number, new_trials=True)
        if not isinstance(answer, Suggestion):
            return None
        if answer.trial is None:
            assert answer.point is not None
            self._points.append(answer.point)
        trial = len(self._points) - 1 if answer.trial is None else answer.trial
        rung = self._trials.count(trial)
        self._trials.append(trial)
        last = answer.last_epoch or self._epochs
        self._apply(
            Asked(
                number, trial, rung, answer.first_epoch, last, answer.id, answer.values, {}, at=0.0
            )
        )
        return Job(self._curves.key(self._points[trial]), answer.first_epoch, last, number)

    def end_epoch(self, job: Job, epoch: int, accuracy: float) -> bool:
        """Record the epoch; the scheduler says whether to stop."""
        trial = self._trials[job.handle]
        best = self._best.setdefault(trial, [])
        best.append(max([accuracy, *best[-1:]]))
        self._apply(EpochEnded(trial, epoch, {METRIC: accuracy}, at=0.0))
        if not self._search.ends_now(trial):
            return False
        self._apply(Stopped(trial, epoch, at=0.0, by="scheduler"))
        return True

    def end_job(self, job: Job, epoch: int) -> None:
        """Record the rung's end, with the best accuracy of all epochs so far."""
        trial = self._trials[job.handle]
        told = Told(
            job.handle, trial, TrialStatus.COMPLETED, self._best[trial][-1], None, None, 1.0, at=0.0
        )
        self._apply(told)

    def _apply(self, record: Record) -> None:
        self._search.apply(record)


def config_of(overrides: str) -> Config:
    """Return the config with overrides such as `tuner=tpe scheduler=asha`."""
    return compose_config(overrides.split())


def infeasible(values: dict[str, Any], reason: str) -> FoundInfeasible:
    """Fail: every point of a table can be tried."""
    raise AssertionError(reason)
