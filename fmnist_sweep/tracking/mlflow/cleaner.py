"""Runs deleted for good, their artifacts with them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from fmnist_sweep.files import size_of
from fmnist_sweep.tracking.mlflow.calls import one_line_errors, quiet_logging
from fmnist_sweep.tracking.mlflow.moved_store import is_inside, path_of
from fmnist_sweep.tracking.mlflow.reader import SeenRun
from fmnist_sweep.tracking.mlflow.store_version import is_database


class MlflowCleaner:
    """Deletes runs of the store at a URI.

    Nothing outside of `folders` is deleted, whatever the store says: a run of a database that has
    its artifacts elsewhere is left as it is.

    Args:
        uri: of the store.
        folders: in which artifacts may be deleted.
    """

    def __init__(self, uri: str, folders: tuple[Path, ...]) -> None:
        quiet_logging()
        self._uri = uri
        self._folders = folders
        self._client = MlflowClient(tracking_uri=uri)

    @property
    def frees_space(self) -> bool:
        """Whether deleted runs are gone for good; a server only marks them until it is told to."""
        return is_database(self._uri)

    def elsewhere(self, runs: Sequence[SeenRun]) -> dict[str, SeenRun]:
        """Return those of the runs that are left as they are, by the places of their artifacts."""
        if not self.frees_space:
            return {}  # the artifacts are the server's business, and only marked
        return {
            run.artifact_uri: run for run in runs if not is_inside(run.artifact_uri, self._folders)
        }

    def artifact_bytes(self, runs: Sequence[SeenRun]) -> int | None:
        """Return what the artifacts of those runs take that `delete` deletes, None where a server
        has them."""
        if not self.frees_space:
            return None
        kept = self.elsewhere(runs)
        places = [path_of(run.artifact_uri) for run in runs if run.artifact_uri not in kept]
        return sum(size_of(place) for place in places if place is not None)

    def delete(self, runs: Sequence[SeenRun]) -> None:
        """Delete those runs but the ones `elsewhere`; from a database for good, artifacts and all.

        Raises:
            RunError: MLflow could not.
        """
        kept = self.elsewhere(runs)
        doomed = [run for run in runs if run.artifact_uri not in kept]
        # Those that an earlier call, cut off, has marked only, are among `runs` too.
        for run in doomed:
            with one_line_errors(f"delete run {run.name!r}", self._uri):
                self._client.delete_run(run.id)
        if doomed and self.frees_space:
            with one_line_errors(f"delete {len(doomed)} runs for good", self._uri):
                self._free(doomed)

    def _free(self, runs: Sequence[SeenRun]) -> None:
        # What `mlflow gc` does for a run; the command itself would also purge every experiment
        # and every model that somebody has only marked as deleted.
        store = SqlAlchemyStore(  # type: ignore[no-untyped-call]
            self._uri, (self._folders[0] / "mlruns" / "artifacts").absolute().as_uri()
        )
        try:
            self._free_models(store, {run.id for run in runs})
            for run in runs:
                self._remove(run.artifact_uri)
                store._hard_delete_run(run.id)  # type: ignore[no-untyped-call]
        finally:
            store.engine.dispose()

    def _free_models(self, store: SqlAlchemyStore, runs: set[str]) -> None:
        """Delete models of those runs that a kill left half-made; registered ones stay."""
        for model_id in store._get_deleted_logged_models():  # type: ignore[no-untyped-call]
            model = store.get_logged_model(model_id, allow_deleted=True)
            if str(model.source_run_id) in runs and is_inside(
                model.artifact_location, self._folders
            ):
                self._remove(model.artifact_location)
                store._hard_delete_logged_model(model_id)  # type: ignore[no-untyped-call]

    def _remove(self, place: str) -> None:
        """Delete a folder of artifacts; the only place where this package deletes any."""
        folder = path_of(place)
        if folder is None or not is_inside(place, self._folders):
            raise ValueError(f"{place} is outside of {', '.join(map(str, self._folders))}")
        if folder.exists():
            shutil.rmtree(folder)
        with suppress(OSError):  # the run's own folder, unless something else is in it
            folder.parent.rmdir()
