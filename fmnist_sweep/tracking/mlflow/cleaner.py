"""Deletes runs permanently, with their artifacts."""

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
    """Deletes runs from the store at a URI.

    Nothing outside `folders` is deleted: a database run with its artifacts elsewhere is not
    deleted.

    Args:
        uri: the store's URI.
        folders: folders in which artifacts may be deleted.
    """

    def __init__(self, uri: str, folders: tuple[Path, ...]) -> None:
        quiet_logging()
        self._uri = uri
        self._folders = folders
        self._client = MlflowClient(tracking_uri=uri)

    @property
    def frees_space(self) -> bool:
        """Whether runs are deleted permanently; a server only marks them as deleted."""
        return is_database(self._uri)

    def elsewhere(self, runs: Sequence[SeenRun]) -> dict[str, SeenRun]:
        """Return the runs that are not deleted, by the locations of their artifacts."""
        if not self.frees_space:
            return {}  # the server manages the artifacts, and only marks runs
        return {
            run.artifact_uri: run for run in runs if not is_inside(run.artifact_uri, self._folders)
        }

    def artifact_bytes(self, runs: Sequence[SeenRun]) -> int | None:
        """Return the total size of the artifacts that `delete` would delete, None if they are on a
        server."""
        if not self.frees_space:
            return None
        kept = self.elsewhere(runs)
        places = [path_of(run.artifact_uri) for run in runs if run.artifact_uri not in kept]
        return sum(size_of(place) for place in places if place is not None)

    def delete(self, runs: Sequence[SeenRun]) -> None:
        """Delete all of the runs except those in `elsewhere`; from a database permanently, with
        artifacts.

        Raises:
            RunError: MLflow failed.
        """
        kept = self.elsewhere(runs)
        doomed = [run for run in runs if run.artifact_uri not in kept]
        # Runs that an interrupted call only marked as deleted are included in `runs`.
        for run in doomed:
            with one_line_errors(f"delete run {run.name!r}", self._uri):
                self._client.delete_run(run.id)
        if doomed and self.frees_space:
            with one_line_errors(f"delete {len(doomed)} runs permanently", self._uri):
                self._free(doomed)

    def _free(self, runs: Sequence[SeenRun]) -> None:
        # As `mlflow gc` does for a run; that command would also purge all experiments and models
        # that are marked as deleted.
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
        """Delete models of these runs that are incomplete because of a kill; registered ones are
        kept."""
        for model_id in store._get_deleted_logged_models():  # type: ignore[no-untyped-call]
            model = store.get_logged_model(model_id, allow_deleted=True)
            if str(model.source_run_id) in runs and is_inside(
                model.artifact_location, self._folders
            ):
                self._remove(model.artifact_location)
                store._hard_delete_logged_model(model_id)  # type: ignore[no-untyped-call]

    def _remove(self, place: str) -> None:
        """Delete a folder of artifacts; only this method deletes any."""
        folder = path_of(place)
        if folder is None or not is_inside(place, self._folders):
            raise ValueError(f"{place} is outside of {', '.join(map(str, self._folders))}")
        if folder.exists():
            shutil.rmtree(folder)
        with suppress(OSError):  # the run's own folder, unless it is not empty
            folder.parent.rmdir()
