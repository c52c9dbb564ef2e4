"""A tuner and a scheduler of a user's own, each from outside the package."""

from __future__ import annotations

from fmnist_sweep.journal.records import Asked, FoundInfeasible, Record, Told
from fmnist_sweep.tuners.points import Points
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem, Tuner
from fmnist_sweep.tuners.search import Answer, NothingToPromote, Suggestion


class Corners:
    """Draws at random; every other ask, a point that differs from the best one in one value."""

    name = "tuner corners"
    ends_by_itself = False

    def __init__(self, problem: SearchProblem) -> None:
        self._sign = problem.objective.sign
        self._points = Points(problem)
        self._values: dict[int, dict[str, object]] = {}
        self._best: tuple[float, int] | None = None

    def propose(self, number: int) -> Proposal | Exhausted:
        self._points.draws_from(number)
        if number % 2 and self._best is not None:
            near = self._values[self._best[1]]
            for _ in range(20):
                drawn = self._points.draw()
                path = sorted(drawn)[number % len(drawn)]
                values = {**drawn, **near, path: drawn[path]}
                if self._points.fits(values):
                    return Proposal(f"ask-{number}", values, self._points.point(values))
        return self._points.proposal(number, None)

    def apply(self, record: Record) -> None:
        match record:
            case FoundInfeasible():
                self._points.add(record.values)
            case Asked(values=dict(values)):
                self._points.add(values)
                self._values[record.trial] = values
            case Told(score=float(score)) if record.trial in self._values:
                told = (self._sign * score, record.trial)
                self._best = told if self._best is None else max(self._best, told)

    @property
    def is_used_up(self) -> bool:
        return self._points.all_tried


class Doubling:
    """Doubles the epochs of the best trial at each rung, after every third new one."""

    start_with_epochs = 1
    first_rung_epochs = 1

    def __init__(self, problem: SearchProblem, tuner: Tuner) -> None:
        assert problem.epochs is not None
        self._sign = problem.objective.sign
        self._most = problem.epochs
        self._tuner = tuner
        self._reached: dict[int, int] = {}
        self._scores: dict[int, float] = {}
        self._running: set[int] = set()
        self._since = 0

    @property
    def name(self) -> str:
        return f"{self._tuner.name} with scheduler doubling"

    @property
    def ends_by_itself(self) -> bool:
        return self._tuner.ends_by_itself

    def ask(self, number: int, *, new_trials: bool) -> Answer:
        best = self._best()
        if self._since >= 3 and best is not None:
            return best
        if not new_trials:
            return NothingToPromote()
        answer = self._tuner.propose(number)
        if isinstance(answer, Proposal):
            return Suggestion(answer.id, answer.values, answer.point, last_epoch=1)
        return best or answer

    def _best(self) -> Suggestion | None:
        free = [t for t in self._scores if t not in self._running and self._reached[t] < self._most]
        if not free:
            return None
        trial = max(free, key=lambda t: (self._scores[t], -t))
        first = self._reached[trial]
        last = min(2 * first, self._most)
        return Suggestion(None, None, trial=trial, first_epoch=first, last_epoch=last)

    def apply(self, record: Record) -> None:
        match record:
            case Asked():
                self._since = self._since + 1 if record.rung == 0 else 0
                self._reached[record.trial] = record.last_epoch
                self._running.add(record.trial)
            case Told():
                self._running.discard(record.trial)
                self._scores.pop(record.trial, None)
                if record.score is not None:
                    self._scores[record.trial] = self._sign * record.score
        self._tuner.apply(record)

    def may_go_on(self, trial: int) -> bool:
        return trial in self._scores and self._reached[trial] < self._most

    def ends_now(self, trial: int) -> bool:
        return False

    @property
    def is_used_up(self) -> bool:
        return self._tuner.is_used_up and self._best() is None
