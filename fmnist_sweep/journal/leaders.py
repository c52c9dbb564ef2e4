"""The best so many trials, kept up to date at a cost that does not grow with the sweep."""

from __future__ import annotations

from bisect import insort

from fmnist_sweep.config.schema import Objective


class Leaders:
    """The best `most` trials of those that were taken in; of equals the earlier comes first."""

    def __init__(self, objective: Objective, most: int) -> None:
        self._sign = objective.sign
        self._most = most
        self._ranked: list[tuple[float, int]] = []

    def __contains__(self, number: int) -> bool:
        return any(ranked == number for _, ranked in self._ranked)

    def take_in(self, number: int, score: float) -> int | None:
        """Take a trial's score in, in place of an earlier one; return the trial that has no place
        among them, which may be that one itself, or None."""
        self.leave_out(number)
        insort(self._ranked, (-self._sign * score, number))
        return self._ranked.pop()[1] if len(self._ranked) > self._most else None

    def leave_out(self, number: int) -> None:
        """Take a trial out, should it be among them."""
        self._ranked = [ranked for ranked in self._ranked if ranked[1] != number]
