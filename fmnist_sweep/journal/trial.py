"""One trial of a sweep's state."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from fmnist_sweep.journal.records import Confirmed, TrialStatus
from fmnist_sweep.training.results import EpochRecord, RunResult


@dataclass
class Trial:
    """One point of the space and what became of it. `last_epoch` is where its latest rung was
    to end; early stopping may have ended it sooner. `stopped_at` is the epoch after which it was
    stopped, on request or by the scheduler. `is_paused`: the time budget ended its latest rung
    early; until it goes on, `last_epoch` is the epoch that it reached. `environments` are the
    places, in the sweep's list of them, of those that its epochs were trained in. `scores` are
    those of all objectives, `score` first; `costs` the same, lower being better in each. `refit` is
    the result of training on all images that are not test, where its own is of folds, and
    `refit_since` the first of the environments that it may have been trained in."""

    number: int
    overrides: dict[str, Any]
    status: TrialStatus = TrialStatus.RUNNING
    rung: int = 0
    last_epoch: int = 0
    history: list[EpochRecord] = field(default_factory=list)
    result: RunResult | None = None
    score: float | None = None
    scores: tuple[float, ...] = ()
    costs: tuple[float, ...] = ()
    reason: str | None = None
    stopped_at: int | None = None
    stopped_by: str = ""
    is_paused: bool = False
    confirmations: list[Confirmed] = field(default_factory=list)
    environments: set[int] = field(default_factory=set)
    refit: RunResult | None = None
    refit_since: int = 0

    @property
    def standing_scores(self) -> tuple[float, ...]:
        """The scores used for the ranking, none if there are none."""
        return self.scores if self.status is TrialStatus.COMPLETED else ()

    @property
    def model_result(self) -> RunResult | None:
        """The result of the training that made the trial's model: its own or, of folds, that of
        training on all images that are not test; None if there is none (yet)."""
        if self.result is None or not self.result.folds:
            return self.result
        is_due = self.refit is None or self.refit.last_epoch != self.result.best_epoch
        return None if is_due else self.refit

    @property
    def is_over(self) -> bool:
        """Whether no more rungs of it will be trained, because it failed or was stopped. Its
        promotions are still answered, because Hyperband counts on them."""
        return self.reason is not None or self.stopped_at is not None

    @property
    def confirmed_score(self) -> tuple[float, float] | None:
        """Mean and standard deviation over the new seeds, None with fewer than two."""
        if len(self.confirmations) < 2:
            return None
        scores = [confirmed.score for confirmed in self.confirmations]
        return statistics.mean(scores), statistics.stdev(scores)
