"""What the rest of the program may say to a tracker; MLflow stands behind it, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from fmnist_sweep.training.results import EpochRecord

STOP_TAG = "stop"
"""Set by a user, in MLflow's UI, on the run of a trial that is to be stopped."""
REASON_TAG = "status_reason"
"""Why a run FAILED; gone when it is FINISHED after all."""


class RunStatus(StrEnum):
    """How a run stands, in MLflow's words."""

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
    """A way to look at an experiment's runs: `columns` are metrics and params, as `metrics.loss`
    or `params.train.batch_size`, in their order; `filter` is in MLflow's search syntax; where
    `best_first` names a metric the runs stand by it, not below their parents, the best first or,
    where `lowest`, the lowest; `charts` is a regular expression of the metrics that are drawn."""

    key: str
    name: str
    columns: Sequence[str]
    filter: str = ""
    best_first: str | None = None
    lowest: bool = False
    charts: str = ""


@dataclass(frozen=True)
class RunStart:
    """A run as it begins. `key` identifies it for good: starting a key again attaches to it.
    `params` is called where they are written: to make them may cost more than to skip them.
    `views` of the experiment are replaced when the run is created."""

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
    """Each call may be repeated: what stands already is not written again. Whoever tells a run
    once more leaves out files and end of a rung that another has followed."""

    def start(self, run: RunStart) -> None:
        """Create the run of that key, or attach to it where it exists."""

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Log an epoch's metrics at step `record.epoch`, time-stamped `record.ended_at`."""

    def metrics(self, key: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        """Log metrics at a step; one that stands there already is left as it is."""

    def tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Set tags."""

    def file(
        self, key: str, path: Path, folder: str = "", *, even_if_finished: bool = False
    ) -> None:
        """Upload a file as an artifact, into that artifact folder, replacing an older one.

        The files of a run that has FINISHED stay as they are, if nothing else is said; so with
        `content`.
        """

    def content(self, key: str, make: Callable[[], str | bytes], name: str) -> None:
        """Write an artifact of that name, such as `config.yaml`; `make` gives what is in it."""

    def remove(self, key: str, path: str) -> None:
        """Delete an artifact; one that is not there is no error."""

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        """Give the run its final status."""

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        """Give a run that is still open its final status and, where there is one, the reason; one
        that has ended, or was never started, stays as it is."""

    def is_stop_asked(self, key: str) -> bool:
        """Whether somebody has tagged the run to have it stopped."""

    def then(self, call: Callable[[], None]) -> None:
        """Call that once all that was said before is done."""

    def where(self, key: str) -> str | None:
        """Return the tracker's own id of the run, or None where there is none."""

    def close(self) -> None:
        """Let go of what was opened; nothing more is written."""


class NoTracker:
    """Tracking switched off: takes everything, keeps nothing."""

    def start(self, run: RunStart) -> None:
        """Keep nothing."""

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Keep nothing."""

    def metrics(self, key: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        """Keep nothing."""

    def tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Keep nothing."""

    def file(
        self, key: str, path: Path, folder: str = "", *, even_if_finished: bool = False
    ) -> None:
        """Keep nothing."""

    def content(self, key: str, make: Callable[[], str | bytes], name: str) -> None:
        """Keep nothing."""

    def remove(self, key: str, path: str) -> None:
        """Keep nothing."""

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        """Keep nothing."""

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        """Keep nothing."""

    def is_stop_asked(self, key: str) -> bool:
        """Return False: nobody can."""
        return False

    def then(self, call: Callable[[], None]) -> None:
        """Call it."""
        call()

    def where(self, key: str) -> str | None:
        """Return None: there is no run."""
        return None

    def close(self) -> None:
        """Do nothing: nothing was opened."""
