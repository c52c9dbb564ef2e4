"""Keeps the best models of a sweep's trials in the tracker: of all, or of the best trials."""

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
        tracker: receives the models.
        path_of: returns the path of a trial's best model.
        key_of: returns the key of a trial's run.
        config: the sweep's config; `tracking.keep_checkpoints` is the number kept at the end, None
            for all. During the sweep, models needed for confirmations are kept too.
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
        self._leaders = leaders(config)
        self._logged: set[int] = set()

    def log(self, trial: int, state: SweepState) -> None:
        """Log a trial's best model at the end of a rung, if it is among those kept, and delete the
        models it replaces, one of which may be its own of an earlier rung."""
        beaten = []
        if self._most is not None:
            beaten = self._leaders.take_in(trial, state.trials[trial].scores)
        # A confirmed one may still win.
        beaten = [other for other in beaten if not state.trials[other].confirmations]
        for other in beaten:
            self._delete(other)
        if trial not in beaten:
            log_best_model(self._tracker, self._key_of(trial), self._path_of(trial))
            self._logged.add(trial)

    def log_refitted(self, trial: int) -> None:
        """Log the model of a trial on folds, which training on all images made."""
        path = self._path_of(trial)
        log_best_model(self._tracker, self._key_of(trial), path, even_if_finished=True)
        self._logged.add(trial)

    def give_up(self, trial: int) -> None:
        """Delete the model of a trial that has failed since, so that another can be kept."""
        self._leaders.leave_out(trial)
        if self._most is not None:
            self._delete(trial)

    def settle(self, state: SweepState) -> None:
        """At the end of the sweep, keep only the models of the best trials."""
        if self._most is None:
            return
        best = {trial.number for trial in state.ranking()[: self._most]}
        # Logged again if necessary: the process may have been killed before the tracker received
        # it.
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


def leaders(config: Config) -> Leaders:
    """Return the best trials, by the search's scores, whose models are needed: for confirmations,
    and to be kept in MLflow."""
    confirmed = 1 if config.sweep.confirm is None else config.sweep.confirm.top
    objectives = (config.sweep.objective, *config.sweep.further_objectives)
    return Leaders(objectives, max(confirmed, config.tracking.keep_checkpoints or 1))
