"""The best models of a sweep's trials that the tracker keeps: all, or those of the best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fmnist_sweep.search.leaders import Leaders
from fmnist_sweep.tracking.run_log import BEST_MODEL_ARTIFACT, log_best_model
from fmnist_sweep.tracking.tracker import Tracker


class KeptModels:
    """Logs best models, and deletes those of trials that have fallen behind.

    Args:
        tracker: where to.
        path_of: where a trial's best model is.
        key_of: the key of a trial's run.
        leaders: whose models are kept; None: all are.
    """

    def __init__(
        self,
        tracker: Tracker,
        path_of: Callable[[int], Path],
        key_of: Callable[[int], str],
        leaders: Leaders | None,
    ) -> None:
        self._tracker = tracker
        self._path_of = path_of
        self._key_of = key_of
        self._leaders = leaders

    def log(self, trial: int, score: float) -> None:
        """Log a trial's best model at the end of a rung, if it is to be kept; what it displaces,
        which may be its own of an earlier rung, is deleted."""
        beaten = None if self._leaders is None else self._leaders.take_in(trial, score)
        if beaten is not None:
            self._tracker.remove(self._key_of(beaten), BEST_MODEL_ARTIFACT)
        if beaten != trial:
            log_best_model(self._tracker, self._key_of(trial), self._path_of(trial))

    def give_up(self, trial: int) -> None:
        """Delete the model of a trial that has failed since, so that another may have its place."""
        if self._leaders is not None and trial in self._leaders:
            self._leaders.leave_out(trial)
            self._tracker.remove(self._key_of(trial), BEST_MODEL_ARTIFACT)
