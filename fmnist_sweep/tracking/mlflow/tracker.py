"""The tracker that logs to MLflow, using only its client: no active run, no global state."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from fmnist_sweep.errors import Refused
from fmnist_sweep.tracking.mlflow.calls import (
    one_line_errors,
    quiet_logging,
)
from fmnist_sweep.tracking.mlflow.entities import (
    MAX_DIGEST,
    PARENT_TAG,
    dataset_input,
    param_texts,
    run_tags,
    tag_texts,
    view_tag,
)
from fmnist_sweep.tracking.mlflow.experiment import open_experiment
from fmnist_sweep.tracking.mlflow.moved_store import StoreInUse
from fmnist_sweep.tracking.mlflow.run import GAP_TAG, KnownRun, Standing, telling
from fmnist_sweep.tracking.mlflow.run_index import RunIndex
from fmnist_sweep.tracking.tracker import REASON_TAG, STOP_TAG, RunStart, RunStatus
from fmnist_sweep.training.results import EpochRecord

_NO = ("false", "no", "0")
_METRICS_A_BATCH = 1000  # MLflow's limit


class MlflowTracker:
    """Logs runs to MLflow; all calls are idempotent.

    A run is found by its tag `fmnist.key` (`RunIndex`); children of a run created here are not
    looked up. Children of a deleted run become children of the run that replaces it.

    What exists is not changed, whichever process wrote it: a param, a tag of `start`, a dataset, a
    metric at a step. Only new data changes a status: the first new metric, or a new child, sets an
    ended run back to RUNNING, and its parent too. Hence replaying a journal of ended runs changes
    nothing, and a reopened run is ended by the `end` that the replay reaches. `tags` replaces old
    values; params cannot change, so what may differ in a later start (a raised budget) must be a
    tag.

    Not thread-safe. Errors of MLflow raise RunError, in one line; permanent ones, and calls with a
    key that was never started, Refused; calls about a deleted run RunDeleted. A run deleted before
    this tracker started it is created anew. `where` never raises.
    """

    def __init__(
        self, uri: str, experiment: str, artifact_root: Path | None, held: StoreInUse | None = None
    ) -> None:
        """Connect to the store and open the experiment; it is created if missing.

        `artifact_root`: folder for a new experiment's artifacts; None: the server decides.
        `held`: the lock on the store's folder, released by `close`. Raises ConfigError for a
        deleted experiment.
        """
        quiet_logging()
        self._uri = uri
        self._held = held
        with self._calling(f"open experiment {experiment!r}"):
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment_id = open_experiment(self._client, experiment, artifact_root)
        self._runs = RunIndex(self._client, self._experiment_id)

    def start(self, run: RunStart) -> None:
        """Create the run with that key, or attach to it and add what is missing."""
        parent = None if run.parent_key is None else self._parent(run.parent_key)
        doing = f"start run {run.name!r}"
        with self._telling(parent, doing):
            started = self._runs.find(run.key, parent)
            if started is None:
                started = self._create(run, parent)
        with self._telling(started, doing):
            self._complete(started, run)

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Log an epoch's metrics at step `record.epoch`, time-stamped `record.ended_at`, and its
        `step_loss` at the training's steps."""
        entries = [(name, value, record.epoch) for name, value in record.metrics.items()]
        entries += [("step_loss", value, step) for step, value in record.step_loss]
        self._log(key, entries, record.ended_at)

    def metrics(self, key: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        """Log metrics at a step; existing ones are not changed."""
        self._log(key, [(name, value, step) for name, value in metrics.items()], at)

    def _log(self, key: str, entries: Sequence[tuple[str, float, int]], at: float) -> None:
        run = self._run(key)
        at_step = f" at step {entries[0][2]}" if entries else ""
        with self._telling(run, f"log metrics of run {key!r}{at_step}"):
            new = [entry for entry in entries if entry[2] not in self._steps(run, entry[0])]
            if not new:
                return
            self._reopen(run)
            batch = [Metric(name, float(value), _ms(at), step) for name, value, step in new]
            try:
                for first in range(0, len(batch), _METRICS_A_BATCH):
                    some = batch[first : first + _METRICS_A_BATCH]
                    self._client.log_batch(run.id, metrics=some, synchronous=True)
            except BaseException:
                run.gap = True
                raise
            for name, _, step in new:
                self._steps(run, name).add(step)

    def tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        run = self._run(key)
        with self._telling(run, f"set tags of run {key!r}"):
            standing = self._standing(run).tags
            new = {n: text for n, text in tag_texts(tags).items() if standing.get(n) != text}
            self._set_tags(run, new)

    def file(
        self, key: str, path: Path, folder: str = "", *, even_if_finished: bool = False
    ) -> None:
        """Upload a file to an artifact folder, replacing an older one."""
        run = self._run(key)
        if even_if_finished or run.status is not RunStatus.FINISHED:
            with self._telling(run, f"store {path.name} of run {key!r}"):
                if not path.exists():
                    raise Refused(
                        f"{path.name} of run {key!r} cannot be stored: {path} does not exist"
                    )
                self._client.log_artifact(run.id, str(path), folder or None)

    def content(self, key: str, make: Callable[[], str | bytes], name: str) -> None:
        """Write an artifact with that name, such as `config.yaml`."""
        if self._run(key).status is RunStatus.FINISHED:
            return
        content = make()
        folder, _, file_name = name.rpartition("/")
        with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place:
            path = Path(place) / file_name
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            self.file(key, path, folder)

    def remove(self, key: str, path: str) -> None:
        """Delete an artifact; a missing one is not an error."""
        run = self._run(key)
        with self._telling(run, f"delete {path} of run {key!r}"):
            folder = self._client.get_run(run.id).info.artifact_uri
            repository = get_artifact_repository(folder, self._uri)
            repository.delete_artifacts(path)  # type: ignore[no-untyped-call]  # not in the client

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        """Set the run's final status; an end with the same status as the current one and an earlier
        time changes nothing.

        A run ended as KILLED gets the status in the journal.
        """
        if not status.is_final:
            raise ValueError(f"a run cannot end as {status}")
        run = self._run(key)
        if run.status is not status or run.ended_ms < _ms(at):
            with self._telling(run, f"end run {key!r} as {status}"):
                if run.gap:
                    self._set_tags(run, {GAP_TAG: "true"})
                if status is RunStatus.FINISHED and REASON_TAG in self._standing(run).tags:
                    self._client.delete_tag(run.id, REASON_TAG)  # of an earlier end
                self._client.set_terminated(run.id, status.value, end_time=_ms(at))
            run.status, run.ended_ms = status, _ms(at)
        run.standing = None  # saves memory: most runs are not used again

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        """Set the final status of a run that is still open; others are not changed."""
        run = self._runs.known(key)
        if run is None or run.status.is_final:
            return
        if reason is not None:
            self.tags(key, {REASON_TAG: reason})
        self.end(key, status, at=at)

    def is_stop_asked(self, key: str) -> bool:
        """Whether a user has set the tag `stop`, to any value other than a negative one."""
        run = self._run(key)
        with self._telling(run, f"read the tags of run {key!r}"):
            value = run.active(self._client).data.tags.get(STOP_TAG)
        return value is not None and value.strip().lower() not in _NO

    def then(self, call: Callable[[], None]) -> None:
        """Call `call`; all earlier calls are done."""
        call()

    def where(self, key: str) -> str | None:
        """Return MLflow's ID of a run that was started here, or None."""
        run = self._runs.known(key)
        return None if run is None else run.id

    def close(self) -> None:
        """Release the lock on the store's folder."""
        if self._held is not None:
            self._held.close()

    def _run(self, key: str) -> KnownRun:
        run = self._runs.known(key)
        if run is None:
            raise Refused(f"run {key!r} was never started; known: {len(self._runs)} other runs")
        return run

    def _parent(self, key: str) -> KnownRun:
        with self._calling(f"find the parent run {key!r}"):
            parent = self._runs.find(key, None)
        if parent is None:
            raise Refused(f"run {key!r} cannot be a parent: it was never started")
        return parent

    def _create(self, start: RunStart, parent: KnownRun | None) -> KnownRun:
        if parent is not None:
            self._reopen(parent)
        for view in start.views:
            saved = view_tag(view, _ms(start.started_at))
            self._client.set_experiment_tag(self._experiment_id, *saved)
        tags = run_tags(start, None if parent is None else parent.id)
        try:
            created = self._client.create_run(
                self._experiment_id,
                start_time=_ms(start.started_at),
                tags=tags,
                run_name=start.name,
            )
        except BaseException:
            if parent is not None:
                # It may have been created although the response was lost.
                parent.children_known = False
            raise
        started = (start.key, start.name, created.info.run_id, RunStatus.RUNNING)
        run = KnownRun(*started, parent, children_known=not self._runs.was_deleted(start.key))
        run.standing = Standing(tags=tags)
        self._runs.add(run)
        return run

    def _complete(self, run: KnownRun, start: RunStart) -> None:
        standing = self._standing(run)
        params = {} if run.status is RunStatus.FINISHED else param_texts(start.params())
        for name in sorted(params.keys() & standing.params.keys()):
            if params[name] != standing.params[name]:
                raise Refused(
                    f"run {start.name!r} has param {name}={standing.params[name]}, now given as "
                    f"{params[name]}; MLflow's params cannot change, tags can"
                )
        new_params = {name: text for name, text in params.items() if name not in standing.params}
        if new_params:
            batch = [Param(name, text) for name, text in new_params.items()]
            self._client.log_batch(run.id, params=batch, synchronous=True)
            standing.params.update(new_params)
        tags = run_tags(start, None if run.parent is None else run.parent.id)
        new = {n: text for n, text in tags.items() if n not in standing.tags}
        if run.parent is not None and standing.tags.get(PARENT_TAG) != run.parent.id:
            new[PARENT_TAG] = run.parent.id  # the one before was deleted
        self._set_tags(run, new)
        inputs = {(given.name, given.sha256[:MAX_DIGEST]): given for given in start.inputs}
        new_inputs = [inputs[name] for name in inputs if name not in standing.inputs]
        if new_inputs:
            self._client.log_inputs(run.id, [dataset_input(given) for given in new_inputs])
            standing.inputs.update(inputs)

    def _set_tags(self, run: KnownRun, tags: Mapping[str, str]) -> None:
        if tags:
            batch = [RunTag(name, text) for name, text in tags.items()]
            self._client.log_batch(run.id, tags=batch, synchronous=True)
            self._standing(run).tags.update(tags)

    def _reopen(self, run: KnownRun) -> None:
        if run.status.is_final:
            self._client.update_run(run.id, status=RunStatus.RUNNING.value)
            run.status = RunStatus.RUNNING
        if run.parent is not None:
            self._reopen(run.parent)

    def _standing(self, run: KnownRun) -> Standing:
        if run.standing is None:
            return run.fetched(self._client.get_run(run.id))
        return run.standing

    def _steps(self, run: KnownRun, metric: str) -> set[int]:
        standing = self._standing(run)
        if metric not in standing.steps:
            last = standing.last_steps.get(metric)
            if last is None:
                standing.steps[metric] = set()
            elif standing.whole:
                standing.steps[metric] = set(range(last + 1))
            else:
                history = self._client.get_metric_history(run.id, metric)
                standing.steps[metric] = {logged.step for logged in history}
        return standing.steps[metric]

    def _telling(self, run: KnownRun | None, doing: str) -> AbstractContextManager[None]:
        return telling(run, self._client, doing)

    def _calling(self, doing: str) -> AbstractContextManager[None]:
        return one_line_errors(doing, self._uri)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
