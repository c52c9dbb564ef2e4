"""Runs deleted for good, their artifacts with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient

from fmnist_sweep.errors import RunError
from fmnist_sweep.files import size_of
from fmnist_sweep.tracking.mlflow_calls import one_line_errors
from fmnist_sweep.tracking.mlflow_reader import SeenRun

_RUNS_AT_ONCE = 1000  # a command line has its bounds
_SQL = ("sqlite:", "postgresql", "mysql", "mssql")


class MlflowCleaner:
    """Deletes runs of the store at a URI."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri)

    def artifact_bytes(self, runs: Sequence[SeenRun]) -> int | None:
        """Return what the artifacts of those runs take, None where a server has them."""
        folders = [self._local_artifacts(run) for run in runs]
        if None in folders:
            return None
        return sum(size_of(folder) for folder in folders if folder is not None)

    @property
    def frees_space(self) -> bool:
        """Whether deleted runs are gone for good; a server only marks them until it is told to."""
        return self._uri.startswith(_SQL)

    def delete(self, runs: Sequence[SeenRun]) -> None:
        """Delete those runs; from a database of one's own for good, artifacts and all.

        Raises:
            RunError: MLflow could not.
        """
        # Those that an earlier call, cut off, has marked only, are among `runs` too.
        for run in runs:
            with one_line_errors(f"delete run {run.name!r}", self._uri):
                self._client.delete_run(run.id)
        if not runs or not self.frees_space:
            return
        for first in range(0, len(runs), _RUNS_AT_ONCE):
            self._free(runs[first : first + _RUNS_AT_ONCE])

    def _free(self, runs: Sequence[SeenRun]) -> None:
        ids = ",".join(run.id for run in runs)
        # MLflow's own command; its parts have no public names.
        done = subprocess.run(
            [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", self._uri,
             "--tracking-uri", self._uri, "--run-ids", ids],
            capture_output=True, text=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise RunError(f"mlflow gc could not delete {len(runs)} runs: {reason}")

    def _local_artifacts(self, run: SeenRun) -> Path | None:
        parts = urlsplit(run.artifact_uri)
        return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
