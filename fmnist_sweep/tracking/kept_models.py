"""The best models of a sweep's trials that the tracker keeps: all, or those of the best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fmnist_sweep.config.schema import Config
from fmnist_sweep.journal.leaders import Leaders
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.tracking.run_log import BEST_MODEL_ARTIFACT, log_best_model
from fmnist_sweep.tracking.tracker import Tracker


class KeptModels:
    """Logs best models, and deletes those of trials that have fallen behind.

    Args:
        tracker: where to.
        path_of: where a trial's best model is.
        key_of: the key of a trial's run.
        config: of the sweep; `tracking.keep_checkpoints` says how many are kept at its end, None:
            all. While it runs, those that confirmations may decide among are kept too.
    """

    def __init__(
        self,
        tracker: Tracker,
        path_of: Callable[[int], Path],
        key_of: Callable[[int], str],
        config: Config,
    ) -> None:
        self._tracker = tracker
        self._path_of = path_of
        self._key_of = key_of
        self._most = config.tracking.keep_checkpoints
        self._leaders = Leaders(config.sweep.objective, candidates(config))
        self._logged: set[int] = set()

    def log(self, trial: int, state: SweepState) -> None:
        """Log a trial's best model at the end of a rung, if it is to be kept; what it displaces,
        which may be its own of an earlier rung, is deleted."""
        score = state.trials[trial].score
        assert score is not None  # its rung was completed
        beaten = None if self._most is None else self._leaders.take_in(trial, score)
        if beaten is not None and state.trials[beaten].confirmations:
            beaten = None  # it may win all the same
        if beaten is not None:
            self._delete(beaten)
        if beaten != trial:
            log_best_model(self._tracker, self._key_of(trial), self._path_of(trial))
            self._logged.add(trial)

    def give_up(self, trial: int) -> None:
        """Delete the model of a trial that has failed since, so that another may have its place."""
        self._leaders.leave_out(trial)
        if self._most is not None:
            self._delete(trial)

    def settle(self, state: SweepState) -> None:
        """Keep, at the sweep's end, those of its best trials and no others."""
        if self._most is None:
            return
        best = {trial.number for trial in state.ranking()[: self._most]}
        # Again, if need be: a kill may have come between what was said here and the tracker.
        for trial in sorted(best):
            log_best_model(
                self._tracker, self._key_of(trial), self._path_of(trial), even_if_finished=True
            )
        for trial in sorted(self._logged - best):
            self._delete(trial)
        self._logged |= best

    def _delete(self, trial: int) -> None:
        if trial in self._logged:
            self._logged.discard(trial)
            self._tracker.remove(self._key_of(trial), BEST_MODEL_ARTIFACT)


def candidates(config: Config) -> int:
    """Return how many of the best trials, by the search's score, have models that are wanted: what
    confirmations decide among, and what MLflow keeps."""
    confirmed = 1 if config.sweep.confirm is None else config.sweep.confirm.top
    return max(confirmed, config.tracking.keep_checkpoints or 1)
