"""The sources of a report: a sweep's journal and material, from its folder or from MLflow."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from fmnist_sweep.analysis.material import MATERIAL_FILE, Material, WinnerMaterial
from fmnist_sweep.config.messages import one_line
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.records import Begun
from fmnist_sweep.journal.state import SweepState

if TYPE_CHECKING:
    from fmnist_sweep.tracking.mlflow.reader import MlflowReader, SeenRun


@dataclass(frozen=True, eq=False)
class ReportSource:
    """A sweep that has begun: its journal, the state folded from it, and the material, None if
    there is none (not written yet, or a sweep of an earlier version)."""

    begun: Begun
    journal: Journal
    state: SweepState
    material: Material | None

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.begun.name

    @property
    def winner(self) -> WinnerMaterial | None:
        """The winner's predictions, None if the material has none."""
        return None if self.material is None or self.is_behind else self.material.winner

    @property
    def is_behind(self) -> bool:
        """Whether the material is of a previous winner, because a resumed sweep has found a better
        one."""
        best = self.state.best
        result = None if best is None else best.model_result
        digest = None if result is None else result.best_weights_sha256
        return (
            self.material is not None
            and self.material.winner is not None
            and self.material.winner_sha256 != digest
        )


def source_in(folder: Path) -> ReportSource | None:
    """Read a sweep's folder; None if no sweep has begun there.

    Raises:
        ConfigError: the sweep maximised a loss or minimised an accuracy, which is no longer
        allowed.
        JournalError: the journal cannot be read.
        RunError: the material cannot be read.
    """
    journal = Journal(folder / JOURNAL_FILE)
    if not journal.records or not isinstance(begun := journal.records[0], Begun):
        return None
    given = begun.identity["objective"]
    try:
        objective = Objective.model_validate(given)
    except ValidationError as error:
        wrong = f"sweep.objective.{one_line(error, given)}"
        raise ConfigError(f"sweep {begun.name} cannot be used by this version: {wrong}") from error
    return ReportSource(
        begun, journal, SweepState.after(journal, objective), _material(folder, begun.name)
    )


def _material(folder: Path, name: str) -> Material | None:
    path = folder / MATERIAL_FILE
    if not path.exists():
        return None
    try:
        return Material.from_bytes(path.read_bytes())
    except RunError as error:
        raise RunError(
            f"report: sweep {name}: {error}; running the sweep's command again rewrites it; "
            "without that file the report is made without data and predictions"
        ) from error


def source_of_run(reader: MlflowReader, run: SeenRun) -> ReportSource:
    """Read a sweep from its MLflow run.

    Raises:
        ConfigError: the run has no journal, which is logged when a sweep ends.
        RunError: MLflow cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place:
        folder = Path(place)
        reader.file(run, JOURNAL_FILE, folder)
        reader.file(run, MATERIAL_FILE, folder)
        source = source_in(folder)
    if source is None:
        raise ConfigError(
            f"run {run.name} ({run.id}): has no {JOURNAL_FILE}: not a sweep's run, or not finished"
        )
    return source
