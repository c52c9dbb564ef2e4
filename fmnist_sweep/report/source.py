"""What a report is made from: a sweep's journal and material, from its folder or from MLflow."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from fmnist_sweep.analysis.material import MATERIAL_FILE, Material, WinnerMaterial
from fmnist_sweep.config.messages import one_line
from fmnist_sweep.config.schema import Objective
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal
from fmnist_sweep.journal.records import Begun
from fmnist_sweep.journal.state import SweepState

if TYPE_CHECKING:
    from fmnist_sweep.tracking.mlflow.reader import MlflowReader, SeenRun


@dataclass(frozen=True, eq=False)
class ReportSource:
    """A sweep that has begun: its journal, the state that follows from it, and the material, None
    where there is none (yet, or of a sweep from before there was any)."""

    begun: Begun
    journal: Journal
    state: SweepState
    material: Material | None

    @property
    def name(self) -> str:
        """The sweep's."""
        return self.begun.name

    @property
    def winner(self) -> WinnerMaterial | None:
        """What the winner answers, None where the material has nothing of it."""
        return None if self.material is None or self.is_behind else self.material.winner

    @property
    def is_behind(self) -> bool:
        """Whether the material is of another winner, as it is while a sweep that went on has found
        a better one."""
        best = self.state.best
        digest = None if best is None or best.result is None else best.result.best_weights_sha256
        return (
            self.material is not None
            and self.material.winner is not None
            and self.material.winner_sha256 != digest
        )


def source_in(folder: Path) -> ReportSource | None:
    """Read a sweep's folder; None where no sweep has begun there.

    Raises:
        ConfigError: it maximised a loss, or minimised an accuracy, which this version refuses.
        JournalError: the journal cannot be read.
        RunError: the material cannot.
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
            f"report: sweep {name}: {error}; its command, given again, writes it anew, and without "
            "that file the report is made without data and answers"
        ) from error


def source_of_run(reader: MlflowReader, run: SeenRun) -> ReportSource:
    """Read what MLflow has of a sweep's run.

    Raises:
        ConfigError: it has no journal, which is logged when a sweep ends.
        RunError: MLflow cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place:
        folder = Path(place)
        reader.file(run, JOURNAL_FILE, folder)
        reader.file(run, MATERIAL_FILE, folder)
        source = source_in(folder)
    if source is None:
        raise ConfigError(
            f"run {run.name} ({run.id}): has no {JOURNAL_FILE}: it is no sweep's, or has not ended"
        )
    return source
