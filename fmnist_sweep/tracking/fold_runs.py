"""The runs of a trial's folds, below that of the trial: each fold's curves and results."""

from __future__ import annotations

from fmnist_sweep.config.metrics import TEST, VALIDATION
from fmnist_sweep.tracking.keys import fold_key
from fmnist_sweep.tracking.tracker import RunStart, RunStatus, Tracker
from fmnist_sweep.training.results import EpochRecord, RunResult


class FoldRuns:
    """Logs folds; does nothing if there are none. Methods return the keys of the folds' runs.

    Args:
        tracker: receives the runs.
        sweep: the sweep's name.
        folds: how many each trial has, those of all repeats.
    """

    def __init__(self, tracker: Tracker, sweep: str, folds: int) -> None:
        self._tracker = tracker
        self._sweep = sweep
        self._folds = folds

    def start(self, trial_key: str, trial: int, *, at: float) -> list[str]:
        """Start the runs of a trial's folds, or go on with them."""
        for fold, key in enumerate(self._keys(trial_key)):
            tags = {
                "fmnist.role": "fold",
                "sweep.name": self._sweep,
                "trial": str(trial),
                "fold": str(fold),
                "split.folds": str(self._folds),
            }
            name = f"{self._sweep}-{trial}-fold{fold}"
            self._tracker.start(RunStart(key, name, at, parent_key=trial_key, tags=tags))
        return self._keys(trial_key)

    def epoch(self, trial_key: str, record: EpochRecord) -> None:
        """Log an epoch of each fold."""
        for key, metrics in zip(self._keys(trial_key), record.folds, strict=False):
            self._tracker.epoch(key, EpochRecord(record.epoch, metrics, record.ended_at))

    def end(self, trial_key: str, result: RunResult, *, at: float) -> list[str]:
        """Log the folds' results at the end of a rung, and end their runs."""
        for key, metrics in zip(self._keys(trial_key), result.folds, strict=False):
            final = {
                f"best_{name}": v for name, v in metrics.items() if name.startswith(VALIDATION)
            }
            final |= {name: value for name, value in metrics.items() if name.startswith(TEST)}
            self._tracker.metrics(key, final, step=result.last_epoch, at=at)
            self._tracker.end(key, RunStatus.FINISHED, at=at)
        return self._keys(trial_key)

    def fail(self, trial_key: str, *, at: float) -> list[str]:
        """End the runs of the folds of a trial that failed, whose own run has the reason."""
        for key in self._keys(trial_key):
            self._tracker.end(key, RunStatus.FAILED, at=at)
        return self._keys(trial_key)

    def _keys(self, trial_key: str) -> list[str]:
        return [fold_key(trial_key, fold) for fold in range(self._folds)]
