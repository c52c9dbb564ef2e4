"""Messages that a tracker never receives: refused ones, and those of deleted runs."""

from __future__ import annotations

from fmnist_sweep.errors import FmnistSweepError, Refused

MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""Errors caused by the arguments: retrying raises them again."""


def may_pass(error: Exception) -> bool:
    """Whether a call that raised this error may succeed later; yes if unknown."""
    return not isinstance(error, (Refused, *MISTAKES))


def in_words(error: Exception) -> str:
    """Return an error as shown to the user."""
    return str(error) if isinstance(error, FmnistSweepError) else f"{type(error).__name__}: {error}"


class Unsent:
    """Records the messages of an outbox that were dropped for good."""

    def __init__(self) -> None:
        self._refused = 0
        self._first_reason = ""
        self._incomplete: dict[str, str] = {}
        self._deleted: set[str] = set()
        self._complaint = ""

    def refuse(self, key: str | None, reason: str) -> None:
        """Record that a message was refused; `key`: its run, if any."""
        self._refused += 1
        self._first_reason = self._first_reason or reason
        if key is not None:
            self.lack(key, reason)

    def lack(self, key: str, reason: str) -> None:
        """Record that data of a run is missing in the tracker."""
        self._incomplete.setdefault(key, reason)

    def delete(self, key: str, complaint: str = "") -> None:
        """Record that a run was deleted, so that its messages are dropped; `complaint`: reported at
        the end, if not empty."""
        self._deleted.add(key)
        self._complaint = self._complaint or complaint

    def concerns_deleted(self, key: str) -> bool:
        """Whether a run was deleted, or one of its ancestors before it was started."""
        return key in self._deleted

    def why_incomplete(self, key: str) -> str | None:
        """Return why data of a run is missing in the tracker, None if it is complete."""
        return self._incomplete.get(key)

    @property
    def is_complete(self) -> bool:
        """Whether there is no `complaint`, apart from errors of callbacks."""
        return not (self._incomplete or self._complaint)

    def complaint(self) -> str | None:
        """Return what is missing, on one line; deleted trials are not reported."""
        complaints = [self._complaint] if self._complaint else []
        if self._refused:
            messages = "1 message" if self._refused == 1 else f"{self._refused} messages"
            complaints.append(f"{messages} to the tracker refused, the first: {self._first_reason}")
        return " ".join("; ".join(complaints).split()) or None
