"""`scheduler=median`: stops a trial that is worse than the median of the others."""

from __future__ import annotations

import statistics

from fmnist_sweep.config.scheduler_schema import MedianScheduler
from fmnist_sweep.journal.records import Asked, EpochEnded, Record
from fmnist_sweep.schedulers.full import Full
from fmnist_sweep.tuners.protocol import SearchProblem, Tuner


class Median(Full):
    """The median rule (Golovin et al. 2017, "Google Vizier", section 3.2.2).

    Args:
        problem: what is searched.
        settings: from which epoch on, and how many other trials have to have come that far.
        tuner: proposes the points.
    """

    def __init__(self, problem: SearchProblem, settings: MedianScheduler, tuner: Tuner) -> None:
        super().__init__(tuner)
        self._metric, self._sign = problem.objective.metric, problem.objective.sign
        self._settings = settings
        self._last_epoch: dict[int, int] = {}
        self._scores: dict[int, list[float]] = {}
        self._means: list[dict[int, float]] = []  # by epoch, then by trial

    @property
    def name(self) -> str:
        """The tuner's, and the scheduler's."""
        return f"{super().name} with scheduler median"

    def apply(self, record: Record) -> None:
        """Take in the scores of epochs."""
        match record:
            case Asked():
                self._last_epoch[record.trial] = record.last_epoch
            case EpochEnded():
                scores = self._scores.setdefault(record.trial, [])
                scores.append(self._sign * record.metrics[self._metric])
                if len(self._means) < record.epoch:
                    self._means.append({})
                self._means[record.epoch - 1][record.trial] = statistics.fmean(scores)
        super().apply(record)

    def ends_now(self, trial: int) -> bool:
        """Whether its best score is worse than the median of the others' means until its epoch."""
        scores = self._scores[trial]
        epoch = len(scores)
        if epoch < self._settings.min_epochs or epoch >= self._last_epoch[trial]:
            return False
        others = [mean for other, mean in self._means[epoch - 1].items() if other != trial]
        if len(others) < self._settings.min_trials:
            return False
        return max(scores) < statistics.median(others)
