"""Where rungs run. The seam is `submit(rung) -> future`; worker processes can stand behind it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.environment import without_secrets
from fmnist_sweep.errors import RunError
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.training.results import EpochRecord, RunResult

OnEpoch = Callable[[EpochRecord], bool]
"""Hears of an epoch that was trained; whether the training is to stop after it."""


@dataclass(frozen=True)
class Rung:
    """A config to be trained to the end of `last_epoch`, from where `folder` left off; that ought
    to be at `first_epoch` or later."""

    config: RunConfig
    first_epoch: int
    last_epoch: int
    folder: Path


@dataclass(frozen=True)
class RungOutcome:
    """What came of a rung: a result, or the reason why there is none."""

    result: RunResult | None
    reason: str | None
    seconds: float


class Executor(Protocol):
    """Runs rungs, up to `workers` at a time. `on_epoch` is called in the process, and on the
    thread, of the sweep's owner."""

    workers: int

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        """Start a rung; the future's outcome says what came of it and never raises."""


class InlineExecutor:
    """Runs each rung in this process before `submit` returns.

    Args:
        run: trains a rung and measures it.
    """

    workers = 1

    def __init__(self, run: Callable[[Rung, OnEpoch], RunResult]) -> None:
        self._run = run

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        """Run the rung; its own errors become its outcome. What `on_epoch` raises (a tracker that
        is away) is not the trial's and goes through, as an interrupt does; so does a full disk.

        Raises:
            RunError: the rung's files cannot be written or read.
        """
        future: Future[RungOutcome] = Future()
        started = time.perf_counter()
        result, reason = None, None
        not_the_trials: list[Exception] = []

        def report(record: EpochRecord) -> bool:
            try:
                return on_epoch(record)
            except Exception as error:
                not_the_trials.append(error)
                raise

        try:
            result = self._run(rung, report)
        except Exception as error:
            stop_if_asked()  # an interrupt in a library's depths comes out as any error
            if not_the_trials:
                raise
            if isinstance(error, OSError):
                raise RunError(f"trial in {rung.folder}: {error}") from error
            line = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            reason = without_secrets(" ".join(line.split()))
        future.set_result(RungOutcome(result, reason, time.perf_counter() - started))
        return future
