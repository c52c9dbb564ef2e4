"""What follows a search: confirm the best with fresh seeds, look at the official test set once."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import RunError, SweepStopped
from fmnist_sweep.executors.protocol import Executor, Rung, RungOutcome, run_now
from fmnist_sweep.journal.records import Confirmed, LookedAtOfficialTest, Record, Refitted
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.journal.trial import Trial
from fmnist_sweep.runs.best_file import best_config
from fmnist_sweep.space.overrides import apply_overrides, with_train
from fmnist_sweep.sweep.trial_folders import TrialFolders
from fmnist_sweep.training.batches import ImageSet
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.training.rung import evaluate_saved

_log = logging.getLogger(__name__)

Recorder = Callable[[Record], None]


class Recording(Protocol):
    """What is needed of the sweep's loop: a journal, and to say where one trains."""

    def record(self, record: Record) -> None:
        """Put a record on disk, then let it count."""

    def say_where(self) -> None:
        """Record where this process trains, where that is new."""


def confirm(
    config: Config, state: SweepState, executor: Executor, folder: Path, loop: Recording
) -> None:
    """Retrain the best trials with fresh seeds, as `sweep.confirm` says, each straight through.

    What the journal has already is not trained again.

    Raises:
        SweepStopped: a retraining failed.
    """
    due = _confirmations_due(config, state, folder / "confirmations")
    running: dict[Future[RungOutcome], tuple[Trial, Rung]] = {}
    while running or due:
        while due and len(running) < executor.workers:
            loop.say_where()
            trial, rung = due.pop(0)
            running[executor.submit(rung, _keep_quiet)] = (trial, rung)
        for future in executor.wait(running):
            trial, rung = running.pop(future)
            loop.record(_confirmed(config, trial, rung, future.result()))
            shutil.rmtree(rung.folder, ignore_errors=True)
    shutil.rmtree(folder / "confirmations", ignore_errors=True)  # what a kill left


def _confirmations_due(config: Config, state: SweepState, folder: Path) -> list[tuple[Trial, Rung]]:
    if config.sweep.confirm is None:
        return []
    due = []
    for trial in state.to_confirm(config.sweep.confirm.top):
        base = apply_overrides(config.run, trial.overrides)
        for number in range(1, config.sweep.confirm.seeds + 1):
            seed = (base.train.seed + number) % 2**32
            if all(confirmed.seed != seed for confirmed in trial.confirmations):
                place = folder / f"{trial.number:04d}-seed{seed}"
                rung = Rung(with_train(base, seed=seed), 0, trial.last_epoch, place, trial.number)
                due.append((trial, rung))
    return due


def confirmation_epochs(config: Config, epochs: int) -> int:
    """Return how many epochs a sweep's confirmations cost at the most."""
    wanted = config.sweep.confirm
    return 0 if wanted is None else wanted.top * wanted.seeds * epochs


def refit(
    config: Config, state: SweepState, executor: Executor, folders: TrialFolders, loop: Recording
) -> None:
    """Train the winner of trials on folds on all images that are not test, unless that was done.
    Its checkpoint remembers its epochs, as a confirmation's does.

    Raises:
        SweepStopped: the training failed.
    """
    best = state.best
    if best is None or best.result is None or best.model_result is not None:
        return
    loop.say_where()
    outcome = run_now(executor, refit_rung(config, best, folders.of(best.number)))
    if outcome.result is None:
        raise SweepStopped(
            f"training trial {best.number} on all images that are not test: {outcome.reason}"
        )
    loop.record(Refitted(best.number, outcome.result, at=time.time()))


def refit_rung(config: Config, trial: Trial, folder: Path) -> Rung:
    """Return the rung that trains a trial on all images that are not test."""
    assert trial.result is not None  # it has completed
    last_epoch = trial.result.best_epoch
    return Rung(best_config(config, trial), 0, last_epoch, folder, trial.number, whole=True)


def look_at_official_test(
    state: SweepState,
    official: ImageSet | None,
    files: Callable[[int], Iterable[Path]],
    record: Recorder,
) -> None:
    """Measure the winner on the official test set, unless that was done with these weights.

    `files` gives where the best model of a trial may be read from, one after another; one that
    cannot be read, or has other weights than were searched, is told to the log. Where none is
    left, nothing is measured.
    """
    best = state.best
    if official is None or best is None or best.model_result is None:
        return
    digest = best.model_result.best_weights_sha256
    if any(look.best_weights_sha256 == digest for look in state.official):
        return
    measured = None
    for path in files(best.number):
        try:
            measured = evaluate_saved(path, official, digest)
            break
        except RunError as error:
            _log.warning("%s", error)
    if measured is None:
        _log.warning("trial %d: not measured on the official test set", best.number)
        return
    record(
        LookedAtOfficialTest(
            trial=best.number,
            accuracy=measured["accuracy"],
            loss=measured["loss"],
            images=len(official),
            best_weights_sha256=digest,
            at=time.time(),
        )
    )


def _confirmed(config: Config, trial: Trial, rung: Rung, outcome: RungOutcome) -> Confirmed:
    seed = rung.config.train.seed
    if outcome.result is None:
        raise SweepStopped(
            f"confirming trial {trial.number} with seed {seed}: {outcome.reason}; "
            "sweep.confirm=null ends the sweep without"
        )
    return Confirmed(
        trial=trial.number,
        seed=seed,
        score=outcome.result.best_metrics[config.sweep.objective.metric],
        result=outcome.result,
        at=time.time(),
    )


def _keep_quiet(record: EpochRecord) -> bool:
    """A confirmation's epochs are not journaled: its checkpoint remembers them."""
    return False
