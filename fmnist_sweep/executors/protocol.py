"""The interface of executors: `submit(rung) -> future`, and `wait` for submitted rungs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fmnist_sweep.config.record_schema import Environment
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import RunError
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.masking import without_secrets
from fmnist_sweep.reasons import reason_of
from fmnist_sweep.training.progress import StepProgress
from fmnist_sweep.training.results import EpochRecord, RunResult

OnEpoch = Callable[[EpochRecord], bool]
"""Called after each epoch; returns whether to stop the training."""


@dataclass(frozen=True)
class Rung:
    """A config to be trained to the end of `last_epoch`, from the state in `folder`, which should
    be at
    `first_epoch` or later. `trial`: its trial's number, None if it belongs to none. `costs`: those
    that are measured besides, such as `predict_ms`, and put into the result. `whole`: trains on all
    images that are not test, where the split has folds, each of which is trained else."""

    config: RunConfig
    first_epoch: int
    last_epoch: int
    folder: Path
    trial: int | None = None
    costs: tuple[str, ...] = ()
    whole: bool = False


OnRungStep = Callable[[Rung, StepProgress], None]
"""Progress callback, called a few times a second. Executors may ignore it."""


@dataclass(frozen=True)
class Place:
    """Where a rung is trained."""

    environment: Environment
    host: str


@dataclass(frozen=True)
class RungOutcome:
    """The outcome of a rung: a result, or the reason why there is none."""

    result: RunResult | None
    reason: str | None
    seconds: float


Train = Callable[[Rung, OnEpoch], RunResult]
"""Trains a rung and evaluates it."""


@dataclass(frozen=True)
class TrainedElsewhere(EpochRecord):
    """An epoch that another machine may have trained; an executor may report such ones."""

    place: Place | None = field(default=None, kw_only=True)


class Executor(Protocol):
    """Trains rungs, up to `workers` at a time, a number that may change. `on_epoch` is called in
    the process and thread of the sweep's owner, in `submit` or `wait`."""

    @property
    def workers(self) -> int:
        """Number of rungs trained at a time."""

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        """Start or queue a rung; the future's result is its outcome.

        Raises:
            RunError: the rung's files cannot be written or read. The future may raise it instead.
        """

    def wait(self, futures: Collection[Future[RungOutcome]]) -> set[Future[RungOutcome]]:
        """Return the futures that are done, once there is at least one; or none when `workers`
        has grown."""


def run_now(executor: Executor, rung: Rung) -> RungOutcome:
    """Train one rung to its end, without callbacks."""
    future = executor.submit(rung, lambda record: False)
    while not executor.wait([future]):
        pass
    return future.result()


def outcome_of(train: Train, rung: Rung, on_epoch: OnEpoch) -> RungOutcome:
    """Train a rung; its own errors, and `sys.exit` in the user's code, become its outcome. What
    `on_epoch` raises (a tracker that is away) is not the trial's and goes through, as an interrupt
    does; so does a full disk.

    Raises:
        RunError: the rung's files cannot be written or read.
    """
    started = time.perf_counter()
    result, reason = None, None
    not_the_trials: list[BaseException] = []

    def report(record: EpochRecord) -> bool:
        try:
            return on_epoch(record)
        except (Exception, SystemExit) as error:
            not_the_trials.append(error)
            raise

    try:
        result = train(rung, report)
    except (Exception, SystemExit) as error:
        stop_if_asked(error)  # an interrupt in a library's depths comes out as any error
        if not_the_trials:
            raise
        if isinstance(error, OSError):
            raise RunError(f"trial in {rung.folder}: {error}") from error
        reason = without_secrets(reason_of(error))
    return RungOutcome(result, reason, time.perf_counter() - started)
