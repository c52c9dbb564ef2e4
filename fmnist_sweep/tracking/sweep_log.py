"""Logs a journal's records to a tracker, so that MLflow shows the journal's content.

The same calls are used for a running sweep and for a resume, which logs the whole journal again;
what is already in the tracker is not changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import Dataset, Split
from fmnist_sweep.errors import RunError
from fmnist_sweep.journal.failed_attempt import no_trial_completed
from fmnist_sweep.journal.file import Journal
from fmnist_sweep.journal.records import (
    Asked,
    Begun,
    Confirmed,
    Continued,
    Ended,
    EpochEnded,
    LookedAtOfficialTest,
    Paused,
    Record,
    Refitted,
    RunsIn,
    Stopped,
    Told,
    TrialStatus,
)
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.reasons import message_of
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.space.space import Space
from fmnist_sweep.tracking.fold_runs import FoldRuns
from fmnist_sweep.tracking.front_tags import FrontTags
from fmnist_sweep.tracking.kept_models import KeptModels
from fmnist_sweep.tracking.keys import sweep_key, trial_key
from fmnist_sweep.tracking.later_runs import LaterRuns
from fmnist_sweep.tracking.run_log import (
    CUSTOM_BUILDER_TAG,
    CUSTOM_DATA_TAG,
    best_of,
    cut_off_failed,
    end_failed,
    environment_tags,
    log_digests,
    log_environments,
    log_git_diff,
    log_metrics,
    provenance_tags,
    start_run,
)
from fmnist_sweep.tracking.sweep_note import NOTE_TAG, Described, sweep_note, trial_note
from fmnist_sweep.tracking.sweep_run import log_summary, start_sweep, trial_params
from fmnist_sweep.tracking.tracker import RunStatus, Tracker


class SweepLog:
    """Logs a sweep's records to a tracker.

    Args:
        tracker: receives the records.
        config: the whole config without secrets, with threads resolved.
        name: the sweep's name.
        folder: the sweep's folder, with `journal.jsonl`.
        best_model: returns the path of a trial's best model.
        dataset: the data.
        split: its split.
        space: the search space.
        custom_builder: whether networks come from a user's function, so that their size is known
            only once they are built.
        custom_data: whether the images were given from Python.
    """

    def __init__(
        self,
        tracker: Tracker,
        config: Config,
        name: str,
        folder: Path,
        best_model: Callable[[int], Path],
        dataset: Dataset,
        split: Split,
        space: Space,
        *,
        custom_builder: bool,
        custom_data: bool,
    ) -> None:
        self._tracker = tracker
        self._config = config
        self._base = config.run
        self._name = name
        self._folder = folder
        self._models = KeptModels(tracker, best_model, self._key, config)
        self._front = FrontTags(tracker, self._key)
        self._folds = FoldRuns(tracker, name, len(split.folds))
        self._dataset = dataset
        self._split = split
        self._searched = [leaf.path for leaf in space.leaves]
        self._custom_builder = custom_builder
        exports = not (custom_builder or custom_data)
        self._about = Described(config.tracking.note, space.leaves, config.sweep, exports)
        self._tags = {
            **provenance_tags(dataset, split, config),
            **({CUSTOM_BUILDER_TAG: "true"} if custom_builder else {}),
            **({CUSTOM_DATA_TAG: "true"} if custom_data else {}),
        }
        self._later = LaterRuns(tracker, config.run, name, self._tags)
        self._sweep_key = ""
        self._open_runs: set[str] = set()
        self._is_open = False
        self._note_is_due = False
        self._final: dict[int, Record] | None = None
        self._replayed_to: Record | None = None

    def __call__(self, record: Record, state: SweepState) -> None:
        """Log one record; `state` is the sweep's state after it."""
        self._is_open = True
        match record:
            case Begun():
                self._begun(record, state)
            case RunsIn():
                self._runs_in(record, state)
            case Asked():
                self._asked(record, state)
            case EpochEnded():
                self._tracker.epoch(self._key(record.trial), record.record)
                self._folds.epoch(self._key(record.trial), record.record)
            case Stopped():
                stopped = {"trial.stopped": f"after epoch {record.epoch}"}
                self._tracker.tags(self._key(record.trial), stopped)
            case Told() | Paused():
                self._told(record, state)
            case Continued():
                asked = state.open_asks[record.ask]
                self._asked(replace(asked, at=record.at), state)
            case Confirmed() | Refitted():
                self._trained_later(record, state)
            case LookedAtOfficialTest():
                metrics = {
                    "official_test_accuracy": record.accuracy,
                    "official_test_loss": record.loss,
                    "official_test_looks": float(len(state.official)),
                }
                self._tracker.metrics(
                    self._sweep_key, metrics, step=len(state.official), at=record.at
                )
            case Ended():
                self._ended(record, state)
                self._is_open = False

    def replay(self, journal: Journal, state: SweepState) -> None:
        """Log an existing journal; `state` is updated on the way.

        Only a trial's latest rung, and only an end that is the last record, have files: those of
        earlier ones were overwritten.
        """
        records = journal.records
        self._final = {r.trial: r for r in records if isinstance(r, Told | Paused)}
        self._replayed_to = records[-1] if records else None
        for record in state.taking_in(journal):
            self(record, state)
        self._final = self._replayed_to = None
        self._note_is_due = bool(records)

    def files(self, files: Iterable[tuple[Path, str]]) -> None:
        """Log files of a sweep that may have ended, each with its artifact folder."""
        for path, folder in files:
            self._tracker.file(self._sweep_key, path, folder, even_if_finished=True)

    @contextmanager
    def ends_what_is_open(self) -> Iterator[None]:
        """End all open runs when the block ends: after an error the sweep's run is FAILED and its
        unfinished trials KILLED, after an interrupt all are KILLED."""
        try:
            yield
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            self.cut_off(None if interrupted else message_of(error))
            raise

    def cut_off(self, failure: str | None) -> None:
        """End all open runs: unfinished trials are KILLED; the sweep is FAILED if there is a
        `failure`, else KILLED too."""
        # An error here must not hide the original one.
        with suppress(RunError):
            for key in sorted(self._open_runs):
                self._tracker.cut_off(key, RunStatus.KILLED, None, at=time.time())
        with suppress(RunError):
            if not self._is_open:
                return
            if failure is None:
                self._tracker.cut_off(self._sweep_key, RunStatus.KILLED, None, at=time.time())
            else:
                cut_off_failed(self._tracker, self._sweep_key, failure, at=time.time())

    def is_stop_asked(self, trial: int) -> bool:
        """Whether a user has tagged a trial's run to stop it."""
        return self._tracker.is_stop_asked(self._key(trial))

    def has_run(self, trial: int) -> bool:
        """Whether a trial's run was logged."""
        return self._tracker.where(self._key(trial)) is not None

    @property
    def run_id(self) -> str | None:
        """The tracker's ID of the sweep's run, once it has begun."""
        return self._tracker.where(self._sweep_key)

    def _key(self, trial: int) -> str:
        return trial_key(self._sweep_key, trial)

    def _begun(self, record: Begun, state: SweepState) -> None:
        self._sweep_key = sweep_key(self._name, record.at)
        start_sweep(
            self._tracker,
            self._sweep_key,
            record,
            self._config,
            self._dataset,
            self._split,
            self._tags,
            sweep_note(self._about, state),
            searched=self._searched,
        )

    def _runs_in(self, record: RunsIn, state: SweepState) -> None:
        places = list(state.environments)
        if record.host is not None:
            if record.environment == places[-1]:  # else one that is known
                log_environments(self._tracker, self._sweep_key, places)
            return
        self._tracker.tags(self._sweep_key, environment_tags(places[-1]))
        log_environments(self._tracker, self._sweep_key, places)
        if self._replayed_to is None:  # else the files have been overwritten
            log_git_diff(self._tracker, self._sweep_key, len(places))

    def _asked(self, record: Asked, state: SweepState) -> None:
        key = self._key(record.trial)
        self._open_runs.add(key)
        if self._note_is_due and self._replayed_to is None:
            self._tracker.tags(self._sweep_key, {NOTE_TAG: sweep_note(self._about, state)})
            self._note_is_due = False
        start_run(
            self._tracker,
            key=key,
            name=f"{self._name}-{record.trial}",
            config=lambda: apply_overrides(self._base, record.overrides),
            params=lambda: trial_params(
                self._base, record.overrides, None if self._custom_builder else self._dataset
            ),
            tags={
                **self._tags,
                **self._config.tracking.tags,
                "fmnist.role": "trial",
                "sweep.name": self._name,
                "trial": str(record.trial),
            },
            environment=_owners(state),
            started_at=record.at,
            parent_key=self._sweep_key,
            note=trial_note(self._name, record.trial, record.overrides),
        )
        self._open_runs.update(self._folds.start(key, record.trial, at=record.at))

    def _told(self, record: Told | Paused, state: SweepState) -> None:
        key = self._key(record.trial)
        if isinstance(record, Told) and record.status is TrialStatus.FAILED:
            self._models.give_up(record.trial)
            self._open_runs.difference_update(self._folds.fail(key, at=record.at))
            end_failed(self._tracker, key, record.reason or "", at=record.at)
            self._open_runs.discard(key)
            return
        assert record.result is not None  # completed rungs have a result
        log_metrics(self._tracker, key, record.result, at=record.at)
        self._front.follow(record.trial, state)
        if self._final is not None and record is not self._final[record.trial]:
            return
        log_digests(self._tracker, key, record.result)
        self._models.log(record.trial, state)
        self._open_runs.difference_update(self._folds.end(key, record.result, at=record.at))
        environments = state.environments_of(state.trials[record.trial])
        if len(environments) > 1 or state.places.has_workers:
            log_environments(self._tracker, key, environments)
        if self._custom_builder:
            self._tracker.tags(key, {"model.parameters": str(record.result.parameters)})
        self._tracker.end(key, RunStatus.FINISHED, at=record.at)
        self._open_runs.discard(key)

    def _trained_later(self, record: Confirmed | Refitted, state: SweepState) -> None:
        of_trial = self._key(record.trial)
        both = (self._later.key_of(of_trial, record), of_trial)
        self._open_runs.update(both)
        is_refit = isinstance(record, Refitted)
        environment = state.environments[-1] if is_refit else _owners(state)
        self._later.log(of_trial, record, state.trials[record.trial], environment)
        if is_refit:
            self._models.log_refitted(record.trial)
        for ended in both:
            self._tracker.end(ended, RunStatus.FINISHED, at=record.at)
        self._open_runs.difference_update(both)

    def _ended(self, record: Ended, state: SweepState) -> None:
        self._note_is_due = True  # in case the sweep is resumed
        metrics = {
            "trials": float(len(state.trials)),
            "epochs": float(state.epochs_total),
            "search_minutes": round(state.rung_seconds / 60, 2),
        }
        best = state.best
        if best is not None and best.result is not None:
            metrics |= best_of(best.result)
            metrics["test_accuracy"] = (best.model_result or best.result).test_accuracy
        self._tracker.metrics(self._sweep_key, metrics, step=state.ends, at=record.at)
        if self._replayed_to is not None and record is not self._replayed_to:
            return
        self._models.settle(state)
        log_summary(self._tracker, self._sweep_key, self._folder, state, self._config.sweep.metrics)
        ended = {"sweep.ended": record.reason, NOTE_TAG: sweep_note(self._about, state)}
        self._tracker.tags(self._sweep_key, ended)
        if best is None:
            end_failed(self._tracker, self._sweep_key, no_trial_completed(state), at=record.at)
        else:
            self._tracker.end(self._sweep_key, RunStatus.FINISHED, at=record.at)


def _owners(state: SweepState) -> Environment:
    here = state.places.here
    assert here is not None  # recorded before the first ask
    return here
