"""The executor that trains in the sweep's own process."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future

from fmnist_sweep.executors.protocol import OnEpoch, Rung, RungOutcome, Train, outcome_of


class InlineExecutor:
    """Trains each rung in this process before `submit` returns."""

    workers = 1

    def __init__(self, train: Train) -> None:
        self._train = train

    def submit(self, rung: Rung, on_epoch: OnEpoch) -> Future[RungOutcome]:
        """Train the rung; see `outcome_of`."""
        future: Future[RungOutcome] = Future()
        future.set_result(outcome_of(self._train, rung, on_epoch))
        return future

    def wait(self, futures: Collection[Future[RungOutcome]]) -> set[Future[RungOutcome]]:
        """Return all futures, which are done already."""
        return set(futures)
