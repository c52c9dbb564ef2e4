"""A run as the tracker knows it: what of it stands in the store, and so is not written again."""

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
    """What a run has in the store.

    `steps` knows the metrics that were written or looked up since; of the others `last_steps` has
    the last step. `whole`: every step up to the last stands, so that none has to be looked up.
    """

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: set[tuple[str, str]] = field(default_factory=set)
    last_steps: dict[str, int] = field(default_factory=dict)
    steps: dict[str, set[int]] = field(default_factory=dict)
    whole: bool = False


@dataclass
class KnownRun:
    """A run that this tracker knows; `standing` is fetched when it is needed.

    `gap`: metrics were refused here, so that a later one may stand where an earlier one does not.
    `found_open`: as above, as far as one can know of a run whose process was killed.
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
        """Return a run that was fetched."""
        info = run.info
        status = RunStatus(info.status)
        known = cls(key, info.run_name, info.run_id, status, parent, children_known=False)
        known.ended_ms = run.info.end_time or 0
        known.found_open = not known.status.is_final
        known.fetched(run)
        return known

    def line(self) -> Iterator[KnownRun]:
        """Yield the run, and those above it."""
        yield self
        if self.parent is not None:
            yield from self.parent.line()

    def active(self, client: MlflowClient) -> Run:
        """Fetch the run; raise RunDeleted where it is deleted, or gone altogether."""
        try:
            run = client.get_run(self.id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # what `mlflow gc` leaves of one
                raise
            run = None
        if run is None or run.info.lifecycle_stage != LifecycleStage.ACTIVE:
            raise RunDeleted(f"run {self.name!r} was deleted in MLflow", self.key)
        return run

    def fetched(self, run: Run) -> Standing:
        """Take note of what a run has that was fetched."""
        inputs = [] if run.inputs is None else run.inputs.dataset_inputs
        self.standing = Standing(
            params=_interned(run.data.params),
            tags=_interned(run.data.tags),
            inputs={(given.dataset.name, given.dataset.digest) for given in inputs},
            last_steps={metric.key: metric.step for metric in run.data.to_proto().metrics},
            # Looking up the steps of a whole sweep's runs would take minutes.
            whole=not self.found_open and GAP_TAG not in run.data.tags,
        )
        return self.standing


@contextmanager
def telling(run: KnownRun | None, client: MlflowClient, doing: str) -> Iterator[None]:
    """`one_line_errors` for what concerns a run: where MLflow refuses it since that run, or one
    above it, was deleted, the error says so."""
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
    """Return a copy that shares its strings with the other runs of a sweep: most are the same."""
    return {sys.intern(name): sys.intern(text) for name, text in texts.items()}
