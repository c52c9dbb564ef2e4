"""A search without its loop: asked, told numbers made from the points, and watched."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from search_fakes import NOTHING_OWN

from fmnist_sweep.config.schema import Config
from fmnist_sweep.files import canonical_json, digest_of
from fmnist_sweep.journal.records import Asked, FoundInfeasible, Record, Told, TrialStatus
from fmnist_sweep.schedulers.opening import OwnSearch, open_scheduler
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.tuners.protocol import Exhausted, SearchProblem
from fmnist_sweep.tuners.search import Answer, Suggestion

Why = Callable[[Mapping[str, Any]], str | None]


def score_of(point: Mapping[str, Any]) -> float:
    """A number in 0..1 that any change of a point changes."""
    return int(digest_of(dict(point))[:8], 16) / 2**32


class Driven:
    """A scheduler and its tuner. `asked` are their suggestions, `points` what each is about, as
    text, `records` what they were given, `infeasible` the values that were found so."""

    def __init__(
        self, config: Config, why: Why = lambda point: None, own: OwnSearch = NOTHING_OWN
    ) -> None:
        self.records: list[Record] = []
        self.asked: list[Suggestion] = []
        self.points: list[str] = []
        self._trials: list[int] = []  # by ask
        problem = SearchProblem(
            read_space(config)[0],
            config.tuner.seed,
            config.sweep.objective,
            config.train.epochs,
            why,
            lambda values, reason: self.record(FoundInfeasible(values, reason, at=0.0)),
        )
        self.scheduler = open_scheduler(config, problem, own)

    @property
    def infeasible(self) -> list[dict[str, Any]]:
        return [record.values for record in self.records if isinstance(record, FoundInfeasible)]

    def record(self, record: Record) -> None:
        self.records.append(record)
        self.scheduler.apply(record)

    def ask(self) -> Answer:
        """Ask for a rung, and record it."""
        number = len(self.asked)
        answer = self.scheduler.ask(number, new_trials=True)
        if isinstance(answer, Suggestion):
            new = len(set(self._trials))
            self._trials.append(new if answer.trial is None else answer.trial)
            self.asked.append(answer)
            of_trial = self._trials.index(self._trials[-1])
            self.points.append(canonical_json(self.asked[of_trial].point))
            last = answer.last_epoch or 9
            self.record(
                Asked(
                    number,
                    self._trials[-1],
                    self._trials.count(self._trials[-1]) - 1,
                    answer.first_epoch,
                    last,
                    answer.id,
                    answer.values,
                    overrides={},
                    at=0.0,
                )
            )
        return answer

    def tell(self, number: int, score: float | None) -> None:
        """Answer an ask; None: the trial failed."""
        status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
        reason = "it broke" if score is None else None
        told = Told(number, self._trials[number], status, score, None, reason, 1.0, at=0.0)
        self.record(told)

    def go_on(self, asks: int, *, fails: Callable[[int], bool] = lambda number: False) -> None:
        """Ask and tell, at most so many times."""
        for _ in range(asks):
            number = len(self.asked)
            answer = self.ask()
            if not isinstance(answer, Suggestion):
                assert isinstance(answer, Exhausted)
                return
            self.tell(number, None if fails(number) else self.score(number))

    def score(self, number: int) -> float:
        """The score that `go_on` tells for an ask."""
        return score_of(json.loads(self.points[number]))
