"""Logs the journal of a single training to a tracker, as `SweepLog` does a sweep's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import Dataset, Split
from fmnist_sweep.journal.file import Journal
from fmnist_sweep.journal.records import Begun, EpochEnded, Record, RunsIn, Told
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.reasons import message_of
from fmnist_sweep.tracking.keys import sweep_key
from fmnist_sweep.tracking.run_log import (
    cut_off_failed,
    dataset_inputs,
    end_failed,
    environment_tags,
    input_tags,
    log_best_model,
    log_digests,
    log_environments,
    log_git_diff,
    log_metrics,
    provenance_tags,
    start_run,
)
from fmnist_sweep.tracking.tracker import RunStatus, Tracker


class TrainingLog:
    """Logs a single training's records to a tracker.

    Args:
        tracker: receives the records.
        config: the whole config without secrets, with threads resolved.
        name: the run's name.
        best_model: the path of the best model.
        dataset: the data.
        split: its split.
        parameters: of the network.
        tags: further tags of the run.
    """

    def __init__(
        self,
        tracker: Tracker,
        config: Config,
        name: str,
        best_model: Path,
        dataset: Dataset,
        split: Split,
        parameters: int,
        tags: Mapping[str, str],
    ) -> None:
        self._tracker = tracker
        self._config = config
        self._name = name
        self._best_model = best_model
        self._dataset = dataset
        self._split = split
        self._parameters = parameters
        self._tags = tags
        self._replays = False
        self.key = ""

    def __call__(self, record: Record, state: SweepState) -> None:
        """Log one record; `state` is the training's state after it."""
        match record:
            case Begun():
                self.key = sweep_key(record.name, record.at)
            case RunsIn():
                self._runs_in(record, state)
            case EpochEnded():
                self._tracker.epoch(self.key, record.record)
            case Told():
                self._told(record)

    def replay(self, journal: Journal, state: SweepState) -> None:
        """Log an existing journal; `state` is updated on the way."""
        self._replays = True
        for record in state.taking_in(journal):
            self(record, state)
        self._replays = False

    @contextmanager
    def ends_what_is_open(self) -> Iterator[None]:
        """End the run, if it is open, when the block raises: KILLED after an interrupt, FAILED
        after an error."""
        try:
            yield
        except KeyboardInterrupt:
            self._tracker.cut_off(self.key, RunStatus.KILLED, None, at=time.time())
            raise
        except BaseException as error:
            cut_off_failed(self._tracker, self.key, message_of(error), at=time.time())
            raise

    def _runs_in(self, record: RunsIn, state: SweepState) -> None:
        places = list(state.environments)
        if len(places) == 1:
            self._start(record.environment, record.at)
        else:
            self._tracker.tags(self.key, environment_tags(record.environment))
            log_environments(self._tracker, self.key, places)
        if not self._replays:  # else the files have changed since
            log_git_diff(self._tracker, self.key, len(places))

    def _start(self, environment: Environment, at: float) -> None:
        config, inputs = self._config, dataset_inputs(self._dataset, self._split)
        start_run(
            self._tracker,
            key=self.key,
            name=self._name,
            config=lambda: config.run,
            params=lambda: {
                "model.parameters": self._parameters,
                "train.seed": config.train.seed,
            },
            tags={
                **provenance_tags(self._dataset, self._split, config),
                **input_tags(inputs),
                **config.tracking.tags,
                "fmnist.role": "training",
                "train.command": environment.command,
                **self._tags,
            },
            environment=environment,
            started_at=at,
            inputs=inputs,
            note=config.tracking.note,
        )

    def _told(self, record: Told) -> None:
        if record.result is None:
            end_failed(self._tracker, self.key, record.reason or "", at=record.at)
            return
        log_metrics(self._tracker, self.key, record.result, at=record.at)
        log_digests(self._tracker, self.key, record.result)
        log_best_model(self._tracker, self.key, self._best_model)
        self._tracker.end(self.key, RunStatus.FINISHED, at=record.at)
