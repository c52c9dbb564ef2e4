"""Reads from MLflow: runs by ID, name or tag, their metrics and text artifacts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException

from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.tracking.mlflow.calls import (
    collector_paused,
    one_line_errors,
    quiet_logging,
    quoted,
)
from fmnist_sweep.tracking.mlflow.entities import KEY_TAG
from fmnist_sweep.tracking.tracker import RunStatus

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_RUNS_A_PAGE = 500
_SHOWN = 5


@dataclass(frozen=True)
class SeenRun:
    """A run as stored. `metrics` and `last_steps` are the last logged ones; `started_at` is in
    seconds since 1970."""

    id: str
    started_at: float
    name: str
    status: RunStatus
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    last_steps: Mapping[str, int]
    artifact_uri: str


class MlflowReader:
    """Reads an existing store; writes nothing.

    Errors of MLflow raise RunError, in one line.
    """

    def __init__(self, uri: str) -> None:
        quiet_logging()
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri)

    def run(self, id_or_name: str, experiments: Sequence[str]) -> SeenRun:
        """Return the run with an ID, or with a name in one of the experiments.

        Raises:
            ConfigError: there is none, or several have that name.
        """
        if _RUN_ID.fullmatch(id_or_name):
            try:
                with self._calling(f"look up run {id_or_name}"):
                    return _seen(self._client.get_run(id_or_name))
            except RunError as error:
                if _is_missing(error):
                    raise ConfigError(self._unknown(id_or_name, experiments)) from error
                raise
        if "'" in id_or_name and '"' in id_or_name:  # MLflow's search syntax cannot express both
            raise ConfigError(f"run {id_or_name}: cannot be looked up by that name; use its id")
        found = self.runs(experiments, f"attributes.run_name = {quoted(id_or_name)}")
        # A rerun has the name of the original run, which is the one meant.
        found = [run for run in found if not {"rerun_of", "derived_from"} & {*run.tags}] or found
        # A failed run that was run again and finished is not the one meant.
        found = [run for run in found if run.status is RunStatus.FINISHED] or found
        if not found:
            raise ConfigError(self._unknown(id_or_name, experiments))
        if len(found) > 1:
            ids = ", ".join(run.id for run in found[:_SHOWN])
            raise ConfigError(
                f"run {id_or_name}: {len(found)} runs have that name; use an id, newest first: "
                f"{ids}"
            )
        return found[0]

    def sweep(self, name: str, experiments: Sequence[str]) -> SeenRun | None:
        """Return the newest run of the sweep with a name; None if there is none."""
        condition = f"tags.`sweep.name` = {quoted(name)} and tags.`fmnist.role` = 'sweep'"
        found = self.runs(experiments, condition)
        return found[0] if found else None

    def runs(
        self, experiments: Sequence[str], condition: str = "", *, deleted: bool = False
    ) -> list[SeenRun]:
        """Return the runs of some experiments that match a condition, newest first.

        `condition` is in MLflow's search syntax; missing experiments have no runs. `deleted`:
        whether to include runs marked as deleted.
        """
        with self._calling("search for runs"):
            ids = [
                found.experiment_id
                for name in experiments
                if (found := self._client.get_experiment_by_name(name)) is not None
            ]
            view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
            return [_seen(run) for run in self._search(ids, condition, view)] if ids else []

    def experiments(self) -> list[str]:
        """Return the names of all experiments."""
        with self._calling("list the experiments"):
            return [found.name for found in self._client.search_experiments()]

    def experiment_id(self, name: str) -> str | None:
        """Return the ID of the experiment with a name, None if there is none."""
        with self._calling(f"look up experiment {name!r}"):
            found = self._client.get_experiment_by_name(name)
        return None if found is None else found.experiment_id

    def latest(self, experiment: str, condition: str) -> SeenRun | None:
        """Return an experiment's newest run that matches a condition."""
        experiment_id = self.experiment_id(experiment)
        if experiment_id is None:
            return None
        with self._calling("search for runs"):
            newest = next(self._search([experiment_id], condition, ViewType.ACTIVE_ONLY), None)
        return None if newest is None else _seen(newest)

    def runs_of_key(self, experiments: Sequence[str], key: str) -> list[SeenRun]:
        """Return the runs started with a key; normally at most one."""
        return self.runs(experiments, f"tags.`{KEY_TAG}` = {quoted(key)}")

    def text(self, run: SeenRun, path: str) -> str | None:
        """Return a text artifact of a run, None if it does not exist."""
        with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as folder:
            fetched = self.file(run, path, Path(folder))
            return None if fetched is None else fetched.read_text(encoding="utf-8")

    def file(self, run: SeenRun, path: str, folder: Path) -> Path | None:
        """Download an artifact of a run into a folder; None if it does not exist."""
        with self._calling(f"fetch {path} of run {run.name!r}"):
            parent = path.rpartition("/")[0] or None
            if all(found.path != path for found in self._client.list_artifacts(run.id, parent)):
                return None
            folder.mkdir(parents=True, exist_ok=True)
            return Path(self._client.download_artifacts(run.id, path, str(folder)))

    def history(self, run: SeenRun, metric: str) -> list[tuple[int, float]]:
        """Return a metric's (step, value) pairs, in the order of the steps."""
        with self._calling(f"fetch {metric} of run {run.name!r}"):
            logged = self._client.get_metric_history(run.id, metric)
        return sorted((entry.step, entry.value) for entry in logged)

    def _search(self, experiment_ids: list[str], condition: str, view: int) -> Iterator[Run]:
        token = None
        while True:
            with collector_paused():
                page = self._client.search_runs(
                    experiment_ids,
                    condition,
                    run_view_type=view,
                    max_results=_RUNS_A_PAGE,
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
            yield from page
            token = page.token
            if not token:
                return

    def _unknown(self, id_or_name: str, experiments: Sequence[str]) -> str:
        latest = self.runs(experiments)[:_SHOWN]
        told = ", ".join(f"{run.name} ({run.id})" for run in latest) or "none"
        return (
            f"run {id_or_name}: not found at {without_secrets(self._uri)}; the latest are: {told}"
        )

    def _calling(self, doing: str) -> AbstractContextManager[None]:
        return one_line_errors(doing, self._uri)


def _seen(run: Run) -> SeenRun:
    return SeenRun(
        id=run.info.run_id,
        started_at=run.info.start_time / 1000,
        name=run.info.run_name,
        status=RunStatus(run.info.status),
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        last_steps={metric.key: metric.step for metric in run.data.to_proto().metrics},
        artifact_uri=run.info.artifact_uri,
    )


def _is_missing(error: RunError) -> bool:
    cause = error.__cause__
    return isinstance(cause, MlflowException) and cause.error_code == "RESOURCE_DOES_NOT_EXIST"
