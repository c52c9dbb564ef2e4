"""The best trials, updated at a cost that does not grow with the sweep."""

from __future__ import annotations

from collections.abc import Sequence

from fmnist_sweep.config.objective_schema import AnyObjective
from fmnist_sweep.journal.scores import costs_of, front_of


class Leaders:
    """The best `most` of the added trials; of equals the earlier comes first.

    With several objectives: the Pareto front, of which any trial may be chosen, however many they
    are, and of the others the best in the first objective up to `most` in all.
    """

    def __init__(self, objectives: Sequence[AnyObjective], most: int) -> None:
        self._objectives = objectives
        self._most = most
        self._scores: dict[int, Sequence[float]] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._scores

    def take_in(self, number: int, scores: Sequence[float]) -> list[int]:
        """Add a trial, or update its scores; return the trials that are no longer among the best,
        possibly this one."""
        self._scores[number] = scores
        if len(self._scores) <= self._most:
            return []
        front = front_of(self._scores, self._objectives)
        ranked = sorted(
            self._scores,
            key=lambda n: (n not in front, costs_of(self._scores[n], self._objectives), n),
        )
        beaten = ranked[max(self._most, len(front)) :]
        for other in beaten:
            self.leave_out(other)
        return beaten

    def leave_out(self, number: int) -> None:
        """Remove a trial, if it is among the best."""
        self._scores.pop(number, None)
