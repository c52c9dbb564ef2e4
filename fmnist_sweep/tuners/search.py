"""The scheduler seam: rungs, each of a new trial or of one that goes on.

It stands beside the tuners since one of Keras Tuner's, Hyperband, is both at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fmnist_sweep.journal.records import Record
from fmnist_sweep.tuners.protocol import Exhausted, Waiting


@dataclass(frozen=True)
class Suggestion:
    """A rung to train: epochs `first_epoch + 1` to `last_epoch`, None for the full training.

    A new trial (`trial` None) has a `point`; a promotion names the trial that goes on. `id` and
    `values` are journaled: see `Proposal`; None where no tuner has to find them again.
    """

    id: str | None
    values: dict[str, Any] | None
    point: dict[str, Any] | None = None
    trial: int | None = None
    first_epoch: int = 0
    last_epoch: int | None = None


class NothingToPromote:
    """No trial can go on, and no new one was wanted."""


Answer = Suggestion | Waiting | Exhausted | NothingToPromote


class Scheduler(Protocol):
    """Decides for how long points are trained. It is all that a sweep's loop knows of a search.

    What it suggests is a function of the number of the ask and the records so far.
    """

    @property
    def name(self) -> str:
        """What messages call it and its tuner, such as `tuner random`."""

    @property
    def ends_by_itself(self) -> bool:
        """Whether it stops at some time, so that a sweep needs no budget."""

    @property
    def first_rung_epochs(self) -> int | None:
        """The fewest epochs that a new trial is given; None: a full training."""

    @property
    def start_with_epochs(self) -> int | None:
        """The epochs of the first rung of a trial of `sweep.start_with`; None: a full training."""

    def ask(self, number: int, *, new_trials: bool) -> Answer:
        """Suggest the next rung.

        Args:
            number: counts the asks of the sweep.
            new_trials: whether a budget allows a new trial. A scheduler may suggest one all the
                same; the loop does not train it then.
        """

    def apply(self, record: Record) -> None:
        """Take in a record of the journal, as `Tuner.apply` does.

        Raises:
            SweepStopped: the record cannot come from this search.
        """

    def may_go_on(self, trial: int) -> bool:
        """Whether a later rung may continue a trial whose latest rung has ended."""

    def ends_now(self, trial: int) -> bool:
        """Whether a trial that is being trained ends with the epoch that was applied last."""

    @property
    def is_used_up(self) -> bool:
        """Whether every point of the space is known to have been tried or found infeasible, and
        no trial will go on."""
