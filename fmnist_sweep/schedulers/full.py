"""`scheduler=full`: every point is trained to its end."""

from __future__ import annotations

from fmnist_sweep.journal.records import Record
from fmnist_sweep.tuners.protocol import Proposal, Tuner
from fmnist_sweep.tuners.search import Answer, NothingToPromote, Suggestion


class Full:
    """One rung a trial.

    Args:
        tuner: proposes the points.
    """

    first_rung_epochs = None
    start_with_epochs = None

    def __init__(self, tuner: Tuner) -> None:
        self._tuner = tuner

    @property
    def name(self) -> str:
        """The tuner's."""
        return self._tuner.name

    @property
    def ends_by_itself(self) -> bool:
        """Whether the tuner does."""
        return self._tuner.ends_by_itself

    def ask(self, number: int, *, new_trials: bool) -> Answer:
        """Suggest the full training of the tuner's next point."""
        if not new_trials:
            return NothingToPromote()  # without a proposal: a surrogate's may take seconds
        answer = self._tuner.propose(number)
        if isinstance(answer, Proposal):
            return Suggestion(answer.id, answer.values, answer.point)
        return answer

    def apply(self, record: Record) -> None:
        """Pass a record on to the tuner."""
        self._tuner.apply(record)

    def may_go_on(self, trial: int) -> bool:
        """Return False: a trial ends with its only rung."""
        return False

    def ends_now(self, trial: int) -> bool:
        """Return False: no training is cut short."""
        return False

    @property
    def is_used_up(self) -> bool:
        """Whether the tuner's space is."""
        return self._tuner.is_used_up
