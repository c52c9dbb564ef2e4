"""What a tracker is not told for good: what it refused, and what concerns deleted runs."""

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
"""What code raises about what it was given: the same again, however often it is tried."""


def may_pass(error: Exception) -> bool:
    """Whether a call that raised that may work later; yes, where nobody can know."""
    return not isinstance(error, (Refused, *MISTAKES))


def in_words(error: Exception) -> str:
    """Return an error as it is told to a person."""
    return str(error) if isinstance(error, FmnistSweepError) else f"{type(error).__name__}: {error}"


class Unsent:
    """Keeps account of the messages of an outbox that were left out for good."""

    def __init__(self) -> None:
        self._refused = 0
        self._first_reason = ""
        self._incomplete: dict[str, str] = {}
        self._deleted: set[str] = set()
        self._complaint = ""

    def refuse(self, key: str | None, reason: str) -> None:
        """Note that a message, about that run where it was about one, was refused."""
        self._refused += 1
        self._first_reason = self._first_reason or reason
        if key is not None:
            self.lack(key, reason)

    def lack(self, key: str, reason: str) -> None:
        """Note that the tracker lacks something of a run."""
        self._incomplete.setdefault(key, reason)

    def delete(self, key: str, complaint: str = "") -> None:
        """Note that a run is no more, so that what concerns it is left out; `complaint`: what is
        to be said of that in the end, if anything."""
        self._deleted.add(key)
        self._complaint = self._complaint or complaint

    def concerns_deleted(self, key: str) -> bool:
        """Whether a run was deleted, or one above it before it was started."""
        return key in self._deleted

    def why_incomplete(self, key: str) -> str | None:
        """Return why the tracker lacks something of a run, None where it has all."""
        return self._incomplete.get(key)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is amiss: see `complaint`; what a callback raised aside."""
        return not (self._incomplete or self._complaint)

    def complaint(self) -> str | None:
        """Return, in a line, what is amiss; a deleted trial is not."""
        complaints = [self._complaint] if self._complaint else []
        if self._refused:
            messages = "1 message" if self._refused == 1 else f"{self._refused} messages"
            complaints.append(f"{messages} to the tracker refused, the first: {self._first_reason}")
        return " ".join("; ".join(complaints).split()) or None
