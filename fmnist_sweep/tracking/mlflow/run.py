"""The tracker's record of a run: what is in the store already, and is not written again."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException

from fmnist_sweep.errors import Refused, RunDeleted
from fmnist_sweep.tracking.mlflow.calls import one_line_errors
from fmnist_sweep.tracking.tracker import RunStatus

GAP_TAG = "fmnist.gap"


@dataclass
class Standing:
    """What the store has of a run.

    `steps`: metrics that were written or looked up since, by step; for others `last_steps` has the
    last
    step. `whole`: all steps up to the last are present, so that none has to be looked up.
    """

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: set[tuple[str, str]] = field(default_factory=set)
    last_steps: dict[str, int] = field(default_factory=dict)
    steps: dict[str, set[int]] = field(default_factory=dict)
    whole: bool = False


@dataclass
class KnownRun:
    """A run that this tracker knows; `standing` is fetched on demand.

    `gap`: metrics were refused, so that an earlier step may be missing. `found_open`: the run was
    open when found, so its process may have been killed, with the same consequence.
    """

    key: str
    name: str
    id: str
    status: RunStatus
    parent: KnownRun | None
    children_known: bool
    ended_ms: int = 0
    standing: Standing | None = None
    gap: bool = False
    found_open: bool = False

    @classmethod
    def found(cls, key: str, run: Run, parent: KnownRun | None) -> KnownRun:
        """Create the record of a fetched run."""
        info = run.info
        status = RunStatus(info.status)
        known = cls(key, info.run_name, info.run_id, status, parent, children_known=False)
        known.ended_ms = run.info.end_time or 0
        known.found_open = not known.status.is_final
        known.fetched(run)
        return known

    def line(self) -> Iterator[KnownRun]:
        """Yield the run and its ancestors."""
        yield self
        if self.parent is not None:
            yield from self.parent.line()

    def active(self, client: MlflowClient) -> Run:
        """Fetch the run; raises RunDeleted if it is marked as deleted or missing."""
        try:
            run = client.get_run(self.id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # a purged run
                raise
            run = None
        if run is None or run.info.lifecycle_stage != LifecycleStage.ACTIVE:
            raise RunDeleted(f"run {self.name!r} was deleted in MLflow", self.key)
        return run

    def fetched(self, run: Run) -> Standing:
        """Record the content of a fetched run."""
        inputs = [] if run.inputs is None else run.inputs.dataset_inputs
        self.standing = Standing(
            params=_interned(run.data.params),
            tags=_interned(run.data.tags),
            inputs={(given.dataset.name, given.dataset.digest) for given in inputs},
            last_steps={metric.key: metric.step for metric in run.data.to_proto().metrics},
            # Looking up the steps of all runs of a sweep would take minutes.
            whole=not self.found_open and GAP_TAG not in run.data.tags,
        )
        return self.standing


@contextmanager
def telling(run: KnownRun | None, client: MlflowClient, doing: str) -> Iterator[None]:
    """Like `one_line_errors`, for calls about a run: if MLflow refuses one because the run or an
    ancestor was deleted, the error says so."""
    try:
        with one_line_errors(doing, client.tracking_uri):
            yield
    except Refused:
        if run is not None:
            with one_line_errors(doing, client.tracking_uri):
                for one in run.line():
                    one.active(client)
        raise


def _interned(texts: Mapping[str, str]) -> dict[str, str]:
    """Return a copy with interned strings, most of which are shared by the runs of a sweep."""
    return {sys.intern(name): sys.intern(text) for name, text in texts.items()}
