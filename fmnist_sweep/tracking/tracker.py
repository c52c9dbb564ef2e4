"""The interface of trackers: MLflow's, or one that does nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from fmnist_sweep.training.results import EpochRecord

STOP_TAG = "stop"
"""A user sets this tag in MLflow's UI on the run of a trial that is to be stopped."""
REASON_TAG = "status_reason"
"""Why a run FAILED; removed if it is FINISHED later."""


class RunStatus(StrEnum):
    """The status of a run, as in MLflow."""

    RUNNING = "RUNNING"
    SCHEDULED = "SCHEDULED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def is_final(self) -> bool:
        """Whether a run with this status has ended."""
        return self not in (RunStatus.RUNNING, RunStatus.SCHEDULED)


@dataclass(frozen=True)
class DatasetInput:
    """One set of the split: `context` is train, validation, test or official_test."""

    context: str
    name: str
    sha256: str
    images: int
    image_shape: tuple[int, ...]
    classes: int
    source: str


@dataclass(frozen=True)
class View:
    """A view of an experiment's runs: `columns` are metrics and params, as `metrics.loss` or
    `params.train.batch_size`, in order; `filter` is in MLflow's search syntax; if `best_first`
    names a metric, runs are sorted by it, not grouped by parent, the highest first or, with
    `lowest`, the lowest first; `charts` is a regular expression of the plotted metrics."""

    key: str
    name: str
    columns: Sequence[str]
    filter: str = ""
    best_first: str | None = None
    lowest: bool = False
    charts: str = ""


@dataclass(frozen=True)
class RunStart:
    """The start of a run. `key` identifies it permanently: starting a key again attaches to its
    run. `params` is called only if they are written, because computing them may be slow. `views` of
    the experiment are replaced when the run is created."""

    key: str
    name: str
    started_at: float
    parent_key: str | None = None
    params: Callable[[], Mapping[str, object]] = dict
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[DatasetInput] = ()
    note: str | None = None
    views: Sequence[View] = ()


class Tracker(Protocol):
    """All calls are idempotent: what exists already is not written again. When a run is logged
    again, files and ends of rungs that others have followed are omitted."""

    def start(self, run: RunStart) -> None:
        """Create the run with that key, or attach to it if it exists."""

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Log an epoch's metrics at step `record.epoch`, time-stamped `record.ended_at`."""

    def metrics(self, key: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        """Log metrics at a step; existing ones are not changed."""

    def tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Set tags."""

    def file(
        self, key: str, path: Path, folder: str = "", *, even_if_finished: bool = False
    ) -> None:
        """Upload a file to an artifact folder, replacing an older one.

        By default, files of a run that has FINISHED are not changed; the same holds for `content`.
        """

    def content(self, key: str, make: Callable[[], str | bytes], name: str) -> None:
        """Write an artifact with that name, such as `config.yaml`; `make` returns its content."""

    def remove(self, key: str, path: str) -> None:
        """Delete an artifact; a missing one is not an error."""

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        """Set the run's final status."""

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        """Set the final status and, if given, the reason of a run that is still open; a run that
        has ended or was never started is not changed."""

    def is_stop_asked(self, key: str) -> bool:
        """Whether a user has tagged the run to stop it."""

    def then(self, call: Callable[[], None]) -> None:
        """Call `call` once all earlier calls are done."""

    def where(self, key: str) -> str | None:
        """Return the tracker's ID of the run, or None if there is none."""

    def close(self) -> None:
        """Release all resources; nothing is written after this."""


class NoTracker:
    """Tracking is disabled: accepts and discards everything."""

    def start(self, run: RunStart) -> None:
        """Discard."""

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Discard."""

    def metrics(self, key: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        """Discard."""

    def tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Discard."""

    def file(
        self, key: str, path: Path, folder: str = "", *, even_if_finished: bool = False
    ) -> None:
        """Discard."""

    def content(self, key: str, make: Callable[[], str | bytes], name: str) -> None:
        """Discard."""

    def remove(self, key: str, path: str) -> None:
        """Discard."""

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        """Discard."""

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        """Discard."""

    def is_stop_asked(self, key: str) -> bool:
        """Return False."""
        return False

    def then(self, call: Callable[[], None]) -> None:
        """Call it."""
        call()

    def where(self, key: str) -> str | None:
        """Return None."""
        return None

    def close(self) -> None:
        """Do nothing."""
