"""What follows a search: confirm the best with fresh seeds, look at the official test set once."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import RunError, SweepStopped
from fmnist_sweep.search.executor import Executor, Rung
from fmnist_sweep.search.records import Confirmed, LookedAtOfficialTest, Record
from fmnist_sweep.search.state import SweepState, Trial
from fmnist_sweep.space.overrides import apply_overrides, with_train
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
    if config.sweep.confirm is None:
        return
    # Ranked by the search's own scores: confirmations so far must not change who is confirmed.
    by_score = sorted(state.ranking(), key=lambda trial: _search_rank(trial, config))
    for trial in by_score[: config.sweep.confirm.top]:
        base = apply_overrides(config.run, trial.overrides)
        for number in range(1, config.sweep.confirm.seeds + 1):
            seed = (base.train.seed + number) % 2**32
            place = folder / "confirmations" / f"{trial.number:04d}-seed{seed}"
            if all(confirmed.seed != seed for confirmed in trial.confirmations):
                loop.say_where()
                loop.record(_confirmation(config, base, trial, seed, executor, place))
            shutil.rmtree(place, ignore_errors=True)  # also what a kill left in between


def confirmation_epochs(config: Config, epochs: int) -> int:
    """Return how many epochs a sweep's confirmations cost at the most."""
    wanted = config.sweep.confirm
    return 0 if wanted is None else wanted.top * wanted.seeds * epochs


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
    if official is None or best is None or best.result is None:
        return
    digest = best.result.best_weights_sha256
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
            accuracy=measured.accuracy,
            loss=measured.loss,
            images=len(official),
            best_weights_sha256=digest,
            at=time.time(),
        )
    )


def _confirmation(
    config: Config, base: RunConfig, trial: Trial, seed: int, executor: Executor, place: Path
) -> Confirmed:
    rung = Rung(
        config=with_train(base, seed=seed),
        first_epoch=0,
        last_epoch=trial.last_epoch,
        folder=place,
    )
    outcome = executor.submit(rung, _keep_quiet).result()
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


def _search_rank(trial: Trial, config: Config) -> tuple[float, int]:
    assert trial.score is not None  # completed trials have one
    sign = -1.0 if config.sweep.objective.direction == "max" else 1.0
    return sign * trial.score, trial.number


def _keep_quiet(record: EpochRecord) -> bool:
    """A confirmation's epochs are not journaled: its checkpoint remembers them."""
    return False
