"""Sweeps from Python: `run_sweep` and `load_sweep`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import pandas as pd
from pydantic import ValidationError

from fmnist_sweep import environment
from fmnist_sweep.config.messages import one_line
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.data import Dataset
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import canonical_json, check_writable, write_text_whole
from fmnist_sweep.provenance import environment_of_run, recorded_command
from fmnist_sweep.report.best_file import best_config, write_best_file
from fmnist_sweep.search import lock
from fmnist_sweep.search.executor import InlineExecutor, OnEpoch, Rung
from fmnist_sweep.search.finish import confirm, look_at_official_test
from fmnist_sweep.search.journal import JOURNAL_FILE, Journal
from fmnist_sweep.search.leaderboard import leaderboard
from fmnist_sweep.search.loop import Observer, SweepLoop
from fmnist_sweep.search.plan import SweepPlan, plan_sweep
from fmnist_sweep.search.records import SCHEMA, Begun, Ended, Record
from fmnist_sweep.search.state import SweepState
from fmnist_sweep.tracking import SWEEPS, open_tracker
from fmnist_sweep.tracking.outbox import OnTrouble, Outbox, keep_quiet, sending
from fmnist_sweep.tracking.sweep_log import SweepLog
from fmnist_sweep.training.batches import ImageSet
from fmnist_sweep.training.preparation import Prepared, epochs_of
from fmnist_sweep.training.results import BEST_MODEL_FILE, RunResult
from fmnist_sweep.training.rung import default_builder, run_rung
from fmnist_sweep.training.train import ModelBuilder

_CONFIG_FILE = "config.json"


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
    """

    name: str
    folder: Path
    config: Config
    state: SweepState
    best_file: Path | None = None
    run_id: str | None = None

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """One row a trial, best first; `search/leaderboard.py` has the columns."""
        return leaderboard(self.state)

    @property
    def best_config(self) -> RunConfig:
        """The winner as a config of one straight training.

        Raises:
            ConfigError: no trial has completed.
        """
        return best_config(self.config, self._best())

    def best_model(self) -> keras.Model:
        """Load the winner, with its best epoch's weights.

        Raises:
            ConfigError: no trial has completed.
        """
        path = self.folder / "trials" / f"{self._best().number:04d}" / BEST_MODEL_FILE
        return keras.saving.load_model(path, safe_mode=True)

    def _best(self) -> Any:
        if self.state.best is None:
            raise ConfigError(f"sweep {self.name}: no trial has completed, so there is no best one")
        return self.state.best


def run_sweep(
    config: Config,
    build_model: ModelBuilder | None = None,
    data: Dataset | None = None,
    *,
    label: str = "sweep",
    pinned: tuple[str, ...] = (),
    overrides: tuple[str, ...] = (),
    on_plan: Callable[[SweepPlan], None] | None = None,
    observer: Observer | None = None,
    on_trouble: OnTrouble = keep_quiet,
) -> Sweep:
    """Run a sweep, or go on with the one that has the same identity.

    Args:
        config: as `compose_config` gives it; needs a `space` or `variants`.
        build_model: (config, input_shape, classes) -> a Keras model that gives class
            probabilities for images in 0..1; None: the CNN that `config.model` describes.
        data: images of one's own (`dataset_from_arrays`); None: what `config.data` names.
            The winner of one's own images or networks is `best_model()`; no config could say
            how to train it again, so none is exported.
        label: the first part of the name where `sweep.name` is null.
        pinned: config keys that are not to be searched, whatever the space says.
        overrides: how the config was composed, for the record.
        on_plan: hears what is going to be done, before anything is written.
        observer: hears of every record.
        on_trouble: hears why the tracker cannot be told at present, and None when it can again.

    Raises:
        UserError: the config cannot be run; nothing was written.
        SweepStopped: too many trials failed, or another process runs this sweep.
        NotTracked: the sweep came to its end, and not all of it could be told to the tracker.
    """
    plan = plan_sweep(config, build_model, data, label=label, pinned=pinned, root=Path.cwd())
    if on_plan is not None:
        on_plan(plan)
    check_writable(Path.cwd(), "mlruns/sweeps", "mlruns/artifacts", "experiments/best")
    tracker = open_tracker(
        plan.config.tracking,
        root=Path.cwd(),
        environment_uri=environment.tracking_uri_from_environment(),
        experiment=plan.config.tracking.experiment or SWEEPS,
    )
    with lock.held(plan.folder / "lock"), sending(tracker, on_trouble, plan.name) as outbox:
        return _run(plan, outbox, build_model, data is not None, overrides, observer)


def load_sweep(name: str) -> Sweep:
    """Load a sweep from `mlruns/sweeps/<name>` of the working directory.

    Raises:
        ConfigError: there is no such sweep (the message lists those that there are), or its
            config is of another version.
        JournalError: its journal cannot be read.
    """
    sweeps = Path.cwd() / "mlruns" / "sweeps"
    there = sorted(path.parent.name for path in sweeps.glob(f"*/{JOURNAL_FILE}"))
    if name not in there:
        raise ConfigError(f"sweep {name}: not found; there are: {', '.join(there) or 'none'}")
    folder = sweeps / name
    try:
        given = json.loads((folder / _CONFIG_FILE).read_text())
        config = Config.model_validate(given)
    except ValidationError as error:
        raise ConfigError(
            f"sweep {name}: its config is of another version: {one_line(error, given)}"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"sweep {name}: its {_CONFIG_FILE} cannot be read: {error}") from error
    state = SweepState.after(Journal(folder / JOURNAL_FILE), config.sweep.objective)
    return Sweep(name, folder, config, state)


def _run(
    plan: SweepPlan,
    outbox: Outbox,
    build_model: ModelBuilder | None,
    own_data: bool,
    overrides: tuple[str, ...],
    observer: Observer | None,
) -> Sweep:
    config, prepared = plan.config, plan.prepared
    custom = build_model is not None or own_data
    place = environment_of_run(config, overrides)
    log = SweepLog(
        outbox,
        config,
        plan.name,
        plan.folder,
        prepared.dataset,
        prepared.split,
        custom_builder=build_model is not None,
        custom_data=own_data,
    )
    write_text_whole(plan.folder / _CONFIG_FILE, canonical_json(_as_given(config)))
    state = SweepState(config.sweep.objective)
    with log.ends_what_is_open():
        journal = Journal(plan.folder / JOURNAL_FILE)
        log.replay(journal, state)

        def observe(record: Record, state: SweepState) -> None:
            log(record, state)
            if observer is not None:
                observer(record, state)

        executor = _inline_executor(
            prepared, build_model or default_builder, config.tracking.every_steps
        )
        loop = SweepLoop(
            config,
            plan.space,
            lambda run: epochs_of(run, prepared),
            journal,
            state,
            executor,
            plan.folder,
            observe,
            plan.why_infeasible,
            place,
        )
        if state.begun is None:
            # Checkpoints without a journal are of a sweep that nobody knows any more.
            shutil.rmtree(plan.folder / "trials", ignore_errors=True)
            loop.record(_begun(plan, overrides))
        reason = loop.run()
        confirm(config, state, executor, plan.folder, loop)
        official = prepared.split.official_set(prepared.dataset)
        look_at_official_test(
            state,
            None if official is None else ImageSet(*official, prepared.dataset.classes),
            loop.trial_folder,
            loop.record,
        )
        best_file = None if custom else _export(plan, state)
        if state.ended is None:
            loop.record(Ended(reason, at=time.time()))
        loop.drop_all_checkpoints()
    outbox.finish()
    return Sweep(plan.name, plan.folder, config, state, best_file, log.run_id)


def _inline_executor(
    prepared: Prepared, build_model: ModelBuilder, every_steps: int | None
) -> InlineExecutor:
    def run(rung: Rung, on_epoch: OnEpoch) -> RunResult:
        return run_rung(
            rung.config,
            prepared.data,
            rung.last_epoch,
            rung.folder,
            first_epoch=rung.first_epoch,
            build_model=build_model,
            on_epoch=on_epoch,
            every_steps=every_steps,
        )

    return InlineExecutor(run)


def _begun(plan: SweepPlan, overrides: tuple[str, ...]) -> Begun:
    return Begun(
        schema=SCHEMA,
        name=plan.name,
        identity=plan.identity,
        command=recorded_command(overrides),
        at=time.time(),
    )


def _export(plan: SweepPlan, state: SweepState) -> Path | None:
    best = state.best
    if best is None:
        return None
    folder = Path.cwd() / "experiments" / "best"
    path = write_best_file(folder, plan.name, plan.config, state, best, plan.prepared.split)
    write_text_whole(plan.folder / "best.yaml", path.read_text())
    return path


def _as_given(config: Config) -> Mapping[str, Any]:
    return {**config.model_dump(), "model": config.model.as_given()}
