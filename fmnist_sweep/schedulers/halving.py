"""`scheduler=asha` and `scheduler=hyperband`: successive halving, without waiting."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fmnist_sweep.config.scheduler_schema import AshaScheduler, HyperbandScheduler
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.journal.records import Asked, Record, Stopped, Told
from fmnist_sweep.tuners.protocol import Exhausted, Proposal, SearchProblem, Tuner, Waiting
from fmnist_sweep.tuners.search import Answer, NothingToPromote, Suggestion


@dataclass
class _Rung:
    """The trials of a bracket that were trained for so many epochs, best first: (-score, trial),
    and those of them that went on."""

    ranked: list[tuple[float, int]] = field(default_factory=list)
    promoted: set[int] = field(default_factory=set)


class Halving:
    """A new point is trained for a few epochs; the best 1/`factor` of a rung go on to the next.

    A trial goes on as soon as it is among the best of those that reached its rung so far (Li et
    al. 2020, arXiv 1810.05934), so that nobody waits for a rung to fill. With several brackets
    (Li et al. 2018, arXiv 1603.06560) some points are given more epochs at first; a bracket is
    known by the epochs of its first rung. Trials that failed or were stopped count in no rung.

    Args:
        problem: what is searched.
        settings: the first rung's epochs, and the factor.
        tuner: proposes the points.
        brackets: how many first rungs there are; None: as many as rungs.

    Raises:
        ConfigError: trainings have no budget in epochs, or one below `min_epochs`.
    """

    def __init__(
        self,
        problem: SearchProblem,
        settings: AshaScheduler | HyperbandScheduler,
        tuner: Tuner,
        brackets: int | None,
    ) -> None:
        self._levels = _levels(problem.epochs, settings)
        self._name = settings.name
        self._sign = problem.objective.sign
        self._factor = settings.factor
        self._tuner = tuner
        firsts = range(len(self._levels) if brackets is None else brackets)
        self._rungs = {first: [_Rung() for _ in self._levels] for first in firsts}
        self._begun = dict.fromkeys(firsts, 0)
        self._bracket_of: dict[int, int] = {}
        self._level_of: dict[int, int] = {}
        self._over: set[int] = set()
        self._running: set[int] = set()

    @property
    def name(self) -> str:
        """The tuner's, and the scheduler's."""
        return f"{self._tuner.name} with scheduler {self._name}"

    @property
    def ends_by_itself(self) -> bool:
        """Whether the tuner does: the best go on then, and it is over."""
        return self._tuner.ends_by_itself

    @property
    def first_rung_epochs(self) -> int:
        """The epochs of the shortest first rung."""
        return self._levels[0]

    @property
    def start_with_epochs(self) -> int:
        """The same: those trials go through the rungs as all others do."""
        return self._levels[0]

    def ask(self, number: int, *, new_trials: bool) -> Answer:
        """Suggest a promotion if there is one, else a new point."""
        promotion = self._promotion(at_least_one=False)
        if promotion is not None:
            return promotion
        if not new_trials:
            return NothingToPromote()
        answer = self._tuner.propose(number)
        if isinstance(answer, Proposal):
            epochs = self._levels[self._next_bracket()]
            return Suggestion(answer.id, answer.values, answer.point, last_epoch=epochs)
        if isinstance(answer, Exhausted) and not self._running:
            # In a small space a rung may have fewer than `factor` trials: its best goes on.
            return self._promotion(at_least_one=True) or answer
        return answer if not isinstance(answer, Exhausted) else Waiting()

    def apply(self, record: Record) -> None:
        """Take in a record, and pass it on to the tuner."""
        match record:
            case Asked():
                self._asked(record)
            case Stopped():
                self._over.add(record.trial)
            case Told():
                self._told(record)
        self._tuner.apply(record)

    def may_go_on(self, trial: int) -> bool:
        """Whether it has not gone on yet: others may still come below it."""
        if trial in self._over or trial not in self._level_of:
            return False
        level = self._level_of[trial]
        is_last = level == len(self._levels) - 1
        return not is_last and trial not in self._rung_of(trial).promoted

    def ends_now(self, trial: int) -> bool:
        """Return False: trials are trained to the ends of their rungs."""
        return False

    @property
    def is_used_up(self) -> bool:
        """Whether the space is, and no trial will go on."""
        return self._tuner.is_used_up and self._promotion(at_least_one=True) is None

    def _asked(self, asked: Asked) -> None:
        level = self._levels.index(asked.last_epoch)
        if asked.rung == 0:
            self._bracket_of[asked.trial] = level
            self._begun[level] += 1
        else:
            self._rung_of(asked.trial).promoted.add(asked.trial)
        self._level_of[asked.trial] = level
        self._running.add(asked.trial)

    def _told(self, told: Told) -> None:
        self._running.discard(told.trial)
        if told.score is None or told.trial in self._over:
            self._over.add(told.trial)
            return
        insort(self._rung_of(told.trial).ranked, (-self._sign * told.score, told.trial))

    def _rung_of(self, trial: int) -> _Rung:
        return self._rungs[self._bracket_of[trial]][self._level_of[trial]]

    def _promotion(self, *, at_least_one: bool) -> Suggestion | None:
        """Return the promotion that is due, of the highest rung; None if there is none."""
        for level in reversed(range(len(self._levels) - 1)):
            for bracket, rungs in self._rungs.items():
                if level < bracket:
                    continue
                for trial in self._due(rungs[level], at_least_one):
                    first, last = self._levels[level], self._levels[level + 1]
                    return Suggestion(None, None, trial=trial, first_epoch=first, last_epoch=last)
        return None

    def _due(self, rung: _Rung, at_least_one: bool) -> Iterator[int]:
        places = len(rung.ranked) // self._factor
        if at_least_one and rung.ranked:
            places = max(places, 1)
        best = (trial for _, trial in rung.ranked[:places])
        return (trial for trial in best if trial not in rung.promoted and trial not in self._over)

    def _next_bracket(self) -> int:
        """Return the bracket that is furthest below its share of the trials."""
        if len(self._begun) == 1:
            return 0
        shares = _shares(len(self._levels), self._factor)
        return min(self._begun, key=lambda bracket: (self._begun[bracket] + 1) / shares[bracket])


def asha(problem: SearchProblem, settings: AshaScheduler, tuner: Tuner) -> Halving:
    """Return successive halving with one bracket."""
    return Halving(problem, settings, tuner, brackets=1)


def hyperband(problem: SearchProblem, settings: HyperbandScheduler, tuner: Tuner) -> Halving:
    """Return successive halving with a bracket for each rung to begin at."""
    return Halving(problem, settings, tuner, brackets=None)


def _levels(epochs: int | None, settings: AshaScheduler | HyperbandScheduler) -> list[int]:
    """Return the epochs of the rungs, up to a full training."""
    if epochs is None:
        raise ConfigError(f"train.epochs=null: scheduler={settings.name} needs a budget in epochs")
    if settings.min_epochs > epochs:
        raise ConfigError(
            f"scheduler.min_epochs={settings.min_epochs}: must be at most train.epochs={epochs}"
        )
    levels, level = [], settings.min_epochs
    # A rung that a full training would hardly exceed is left out.
    while level * math.sqrt(settings.factor) <= epochs:
        levels.append(level)
        level *= settings.factor
    return [*levels, epochs] if not levels or levels[-1] < epochs else levels


def _shares(levels: int, factor: int) -> Sequence[float]:
    """Return how many trials a bracket begins with in the paper, by its first rung."""
    most = levels - 1
    return [levels / (halvings + 1) * factor**halvings for halvings in range(most, -1, -1)]
