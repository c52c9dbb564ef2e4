"""Which trials of a sweep with several objectives are on the Pareto front, as tags of runs."""

from __future__ import annotations

from collections.abc import Callable

from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.tracking.tracker import Tracker

FRONT_TAG = "trial.pareto_front"
"""`true` or `false`, for each trial with a result."""


class FrontTags:
    """Tags runs where the front changes.

    Args:
        tracker: receives the tags.
        key_of: returns the key of a trial's run.
    """

    def __init__(self, tracker: Tracker, key_of: Callable[[int], str]) -> None:
        self._tracker = tracker
        self._key_of = key_of
        self._front: frozenset[int] = frozenset()

    def follow(self, trial: int, state: SweepState) -> None:
        """Tag a trial that has a new result, and those that it joins or displaces."""
        if not state.further_objectives:
            return
        for number in sorted((self._front ^ state.front) | {trial}):
            tag = {FRONT_TAG: "true" if number in state.front else "false"}
            self._tracker.tags(self._key_of(number), tag)
        self._front = state.front
