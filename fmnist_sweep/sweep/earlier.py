"""An earlier sweep that another one learns from: of this folder, or of the tracking store."""

from __future__ import annotations

from dataclasses import dataclass

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import ConfigError, NoStore
from fmnist_sweep.journal.file import names_of_sweeps
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.sweep.results import load_sweep
from fmnist_sweep.workspace import Workspace


@dataclass(frozen=True)
class EarlierSweep:
    """Its name, the config that its trials change, and what its journal tells."""

    name: str
    base: RunConfig
    state: SweepState


def earlier_sweep(config: Config, name: str) -> EarlierSweep:
    """Return the sweep with a name: from `mlruns/sweeps`, or else from its run in the config's
    tracking store, where a sweep that has ended has its journal.

    Raises:
        ConfigError: there is none in either (the message lists those of the folder), its config is
            of another version, or its network or data came from Python and only the store has it.
        JournalError: its journal cannot be read.
        RunError: MLflow cannot be read.
    """
    try:
        sweep = load_sweep(name)
    except ConfigError:
        if name in names_of_sweeps(Workspace.here().sweeps) or not config.tracking.enabled:
            raise
        found = _in_the_store(config, name)
        if found is None:
            raise
        return found
    return EarlierSweep(sweep.name, sweep.config.run, sweep.state)


def _in_the_store(config: Config, name: str) -> EarlierSweep | None:
    # These import MLflow, which takes seconds.
    from fmnist_sweep.report.source import source_of_run
    from fmnist_sweep.tracking.opening import experiments_to_read, open_reader
    from fmnist_sweep.tracking.run_reading import config_of

    try:
        reader = open_reader(config.tracking, Workspace.here())
    except NoStore:
        return None
    run = reader.sweep(name, experiments_to_read(config.tracking))
    if run is None:
        return None
    base = config_of(reader, run, of_sweep=True)
    return EarlierSweep(name, base, source_of_run(reader, run).state)
