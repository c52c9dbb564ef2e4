"""The tuner seam: proposes points, and is told what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fmnist_sweep.config.objective_schema import AnyObjective
from fmnist_sweep.config.train_schema import Objective
from fmnist_sweep.journal.records import Record
from fmnist_sweep.space.space import Space

WhyInfeasible = Callable[[Mapping[str, Any]], str | None]
OnInfeasible = Callable[[dict[str, Any], str], None]


@dataclass(frozen=True)
class SearchProblem:
    """What is searched.

    Attributes:
        space: the space.
        seed: all randomness comes from this and the number of an ask.
        objective: the metric that is told as a score.
        epochs: the epochs of a full training; None if its budget is in steps.
        why_infeasible: returns why a point (path -> value) cannot be tried, or None.
        on_infeasible: called once with each infeasible proposal, in the tuner's own values, and
            the reason.
        further_objectives: what is optimised besides, at the same time; see `scores.scores_of`.
    """

    space: Space
    seed: int
    objective: Objective
    epochs: int | None
    why_infeasible: WhyInfeasible
    on_infeasible: OnInfeasible
    further_objectives: tuple[AnyObjective, ...] = ()

    @property
    def objectives(self) -> tuple[AnyObjective, ...]:
        """All objectives, `objective` first."""
        return (self.objective, *self.further_objectives)


@dataclass(frozen=True)
class Proposal:
    """A new point. `id` names it in the journal, `values` is what the tuner wants to find there
    again (values that JSON can hold), `point` the space's values by path."""

    id: str
    values: dict[str, Any]
    point: dict[str, Any]


class Waiting:
    """Nothing can be proposed before more results are in."""


class Exhausted:
    """Nothing more will be proposed."""


class Tuner(Protocol):
    """Decides which point is tried next.

    What it proposes is a function of the problem, the number of the ask and the records that it
    was given so far. So a resumed sweep proposes what an undisturbed one would have proposed.
    """

    @property
    def name(self) -> str:
        """What messages call it, such as `tuner random`."""

    @property
    def ends_by_itself(self) -> bool:
        """Whether it stops proposing at some time, so that a sweep needs no budget."""

    def propose(self, number: int) -> Proposal | Waiting | Exhausted:
        """Propose a feasible point that was not tried before.

        Args:
            number: counts the asks of the sweep.
        """

    def apply(self, record: Record) -> None:
        """Take in a record of the journal: each one, in order, while a sweep runs and when it
        is resumed. A proposal counts once its `Asked` is applied.

        Raises:
            SweepStopped: the record cannot come from this tuner.
        """

    @property
    def is_used_up(self) -> bool:
        """Whether every point of the space is known to have been tried or found infeasible."""


TunerFactory = Callable[[SearchProblem], Tuner]
