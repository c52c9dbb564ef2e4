"""Rungs that wait for a worker, and how often each was tried; shared by the engines whose workers
may die."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from fmnist_sweep.errors import RunError
from fmnist_sweep.executors.protocol import OnEpoch, Rung, RungOutcome
from fmnist_sweep.training.results import EpochRecord

_log = logging.getLogger(__name__)
_MOST_FALSE_STARTS = 3  # consecutive deaths in one place before training


@dataclass(eq=False)
class Task:
    """A submitted rung. `epoch` is the last one that was reported, `deaths` those of its workers
    since; `ticket` numbers its latest attempt, among those of all rungs."""

    rung: Rung
    on_epoch: OnEpoch
    future: Future[RungOutcome] = field(default_factory=Future)
    epoch: int = 0
    deaths: int = 0
    ticket: int = -1

    def report(self, record: EpochRecord) -> bool:
        """Pass an epoch on; return whether to stop the training."""
        if record.epoch > self.epoch:
            self.epoch, self.deaths = record.epoch, 0
        return self.on_epoch(record)


class Attempts:
    """The rungs that wait for a worker.

    Args:
        retries: how often a rung is retried after its worker's death without a new epoch.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._tickets = itertools.count()
        self._waiting: deque[Task] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, rung: Rung, on_epoch: OnEpoch) -> Task:
        """Queue a rung."""
        task = Task(rung, on_epoch, epoch=rung.first_epoch)
        self._waiting.append(task)
        return task

    def next(self) -> Task:
        """Take the rung that waits longest, for another attempt."""
        task = self._waiting.popleft()
        task.ticket = next(self._tickets)
        return task

    def give_back(self, task: Task) -> None:
        """Put a rung first in the queue, whose worker's death it did not cause."""
        self._waiting.appendleft(task)

    def died(self, task: Task) -> None:
        """Try a rung again whose worker died, or end it as failed."""
        task.deaths += 1
        if task.deaths <= self._retries:
            _log.warning("%s: its worker process died; retrying", task.rung.folder.name)
            self.give_back(task)
        else:
            times = f"{task.deaths} times without a new epoch"
            reason = f"its worker process died {times}; possibly out of memory"
            task.future.set_result(RungOutcome(None, reason, 0.0))

    def false_start(self, in_a_row: int) -> None:
        """Report a worker's death before it could train.

        Args:
            in_a_row: how many died so in one place, without one that could train in between.

        Raises:
            RunError: there are too many.
        """
        if in_a_row == _MOST_FALSE_STARTS:
            raise RunError(
                f"worker processes die before they can train, {in_a_row} in a row; "
                "use executor=inline"
            )
        _log.warning("a worker process died before it could train; starting another one")

    def clear(self) -> None:
        """Forget the rungs that wait."""
        self._waiting.clear()
