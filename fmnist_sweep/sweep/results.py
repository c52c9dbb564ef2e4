"""A sweep as it stands in its folder, and `load_sweep`, which reads one."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import pandas as pd
from pydantic import ValidationError

from fmnist_sweep.config.messages import one_line
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.config.upgrade import upgraded
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.journal.file import JOURNAL_FILE, Journal, names_of_sweeps
from fmnist_sweep.journal.leaderboard import leaderboard
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.runs.best_file import best_config
from fmnist_sweep.sweep.best_models import best_model_files
from fmnist_sweep.sweep.registration import Registration
from fmnist_sweep.training.rung import load_saved
from fmnist_sweep.workspace import Workspace

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class Sweep:
    """A sweep as it stands in its folder.

    Attributes:
        name: the sweep's.
        folder: `mlruns/sweeps/<name>`.
        config: the config that it was last run with.
        state: its trials and what else the journal tells.
        best_file: the exported winner, None where there is none or it was only loaded.
        run_id: MLflow's id of the parent run, None where it was only loaded or not tracked.
        report: its `report.html`, None where none was made or it was only loaded.
        registration: where its winner stands in MLflow's model registry, None where it does not.
        renaming: how the names of its classes have changed since it was last run, None where they
            have not.
    """

    name: str
    folder: Path
    config: Config
    state: SweepState
    best_file: Path | None = None
    run_id: str | None = None
    report: Path | None = None
    registration: Registration | None = None
    renaming: str | None = None

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """One row a trial, best first; `journal/leaderboard.py` has the columns."""
        return leaderboard(self.state, self.config.sweep.metrics)

    @property
    def best_config(self) -> RunConfig:
        """The winner as a config of one straight training.

        Raises:
            ConfigError: no trial has completed.
        """
        return best_config(self.config, self._best())

    def best_model(self) -> keras.Model:
        """Load the winner, with its best epoch's weights, from MLflow or the sweep's folder.

        Raises:
            ConfigError: no trial has completed.
            RunError: neither has its model any more.
        """
        best, begun = self._best(), self.state.begun
        assert begun is not None
        if best.model_result is None:
            raise RunError(
                f"sweep {self.name}: trial {best.number} is not yet trained on all images; run the "
                "sweep's command again"
            )
        reasons: list[str] = []
        with tempfile.TemporaryDirectory(prefix="fmnist-sweep-") as place:
            for path in best_model_files(
                self.config, begun, self.folder, best.number, Path(place), reasons.append
            ):
                try:
                    return load_saved(path, best.model_result.best_weights_sha256)
                except RunError as error:
                    reasons.append(str(error))
        told = "; ".join(reasons) or "neither the sweep's folder nor MLflow has it"
        raise RunError(
            f"sweep {self.name}: the best model is unavailable: {told}; "
            "`best_config` says how to train it again"
        )

    def _best(self) -> Trial:
        if self.state.best is None:
            raise ConfigError(f"sweep {self.name}: no trial has completed, so there is no best one")
        return self.state.best


def load_sweep(name: str) -> Sweep:
    """Load a sweep from `mlruns/sweeps/<name>` of the working directory.

    Raises:
        ConfigError: there is no such sweep (the message lists those that there are), or its
            config is of another version.
        JournalError: its journal cannot be read.
    """
    sweeps = Workspace.here().sweeps
    there = names_of_sweeps(sweeps)
    if name not in there:
        raise ConfigError(f"sweep {name}: not found; there are: {', '.join(there) or 'none'}")
    folder = sweeps / name
    try:
        given = upgraded(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
        config = Config.model_validate(given)
    except ValidationError as error:
        raise ConfigError(
            f"sweep {name}: its config cannot be used by this version: {one_line(error, given)}"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"sweep {name}: its {CONFIG_FILE} cannot be read: {error}") from error
    state = SweepState.after(Journal(folder / JOURNAL_FILE), config.sweep.objective)
    return Sweep(name, folder, config, state)
