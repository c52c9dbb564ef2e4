"""The best trials, updated at a cost that does not grow with the sweep."""

from __future__ import annotations

from bisect import insort

from fmnist_sweep.config.schema import Objective


class Leaders:
    """The best `most` of the added trials; of equals the earlier comes first."""

    def __init__(self, objective: Objective, most: int) -> None:
        self._sign = objective.sign
        self._most = most
        self._ranked: list[tuple[float, int]] = []

    def __contains__(self, number: int) -> bool:
        return any(ranked == number for _, ranked in self._ranked)

    def take_in(self, number: int, score: float) -> int | None:
        """Add or update a trial's score; return the trial that is then not among the best, possibly
        this one, or None."""
        self.leave_out(number)
        insort(self._ranked, (-self._sign * score, number))
        return self._ranked.pop()[1] if len(self._ranked) > self._most else None

    def leave_out(self, number: int) -> None:
        """Remove a trial, if it is among the best."""
        self._ranked = [ranked for ranked in self._ranked if ranked[1] != number]
