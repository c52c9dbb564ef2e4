"""The runs of an experiment that a tracker knows, found by their keys."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, ViewType

from fmnist_sweep.tracking.mlflow.calls import collector_paused, quoted
from fmnist_sweep.tracking.mlflow.entities import KEY_TAG, PARENT_TAG
from fmnist_sweep.tracking.mlflow.run import KnownRun

_RUNS_A_PAGE = 1000  # each page is sorted anew; a page of this size takes about 60 MB


class RunIndex:
    """Finds runs by key; each is looked up once.

    A run without a parent costs one search, all children of a run that was found one (paged)
    search together. Errors of MLflow are raised as they are.
    """

    def __init__(self, client: MlflowClient, experiment_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._runs: dict[str, KnownRun] = {}
        self._deleted: dict[str, set[str]] = {}  # MLflow's ids, by key

    def __len__(self) -> int:
        return len(self._runs)

    def known(self, key: str) -> KnownRun | None:
        """Return a run that was found or added before."""
        return self._runs.get(key)

    def add(self, run: KnownRun) -> None:
        """Add a run that was created just now."""
        self._runs[run.key] = run

    def was_deleted(self, key: str) -> bool:
        """Whether a deleted run with that key was seen."""
        return key in self._deleted

    def find(self, key: str, parent: KnownRun | None) -> KnownRun | None:
        """Return the run with that key below `parent`, or below a deleted run that `parent`
        replaces; None if there is none."""
        if key in self._runs:
            return self._runs[key]
        if parent is None:
            self._attach(f"tags.`{KEY_TAG}` = {quoted(key)}", None)
        elif not parent.children_known:
            for run_id in (parent.id, *sorted(self._deleted.get(parent.key, ()))):
                self._attach(f"tags.`{PARENT_TAG}` = {quoted(run_id)}", parent)
            parent.children_known = True
        return self._runs.get(key)

    def _attach(self, condition: str, parent: KnownRun | None) -> None:
        token = None
        while True:
            with collector_paused():
                page = self._client.search_runs(
                    [self._experiment_id],
                    condition,
                    run_view_type=ViewType.ALL,
                    max_results=_RUNS_A_PAGE,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            for found in page:
                key = found.data.tags.get(KEY_TAG)
                if key is None:
                    continue
                if found.info.lifecycle_stage != LifecycleStage.ACTIVE:
                    self._deleted.setdefault(key, set()).add(found.info.run_id)
                # The first counts, in case a server created two from one request sent twice.
                elif key not in self._runs:
                    self._runs[key] = KnownRun.found(key, found, parent)
            token = page.token
            if not token:
                return
