"""Determines the next message to send to a tracker: in order, but waiting only for dependencies.

There are two lanes, which fail independently: records (runs, metrics, tags, statuses) go to the
store, files to the artifact storage. A message that could not be sent is set aside and retried
later, and only messages that depend on it wait:

- messages of a run wait for the start of that run and its ancestors;
- records of a run wait for its earlier records, files for earlier ones with the same path;
- the end of a run waits for its records and those of its descendants, which would reopen it;
- a callback waits for everything before it.

After a failure the whole lane pauses, longer each time, and then another message is tried: if none
succeeds, this costs one call per pause; if the others succeed, they are sent at once.
"""

from __future__ import annotations

import itertools
import time
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds between two attempts."""


class Kind(Enum):
    """The kind of a message, as far as the order depends on it."""

    START = "start"
    RECORD = "record"
    FILE = "file"
    END = "end"
    THEN = "then"


@dataclass(eq=False)
class Message:
    """A call, and the run it belongs to; `path` is that of a file among the run's artifacts.

    `reason`: why the last attempt failed, None before the first one.
    """

    kind: Kind
    key: str | None
    send: Callable[[], None]
    path: str = ""
    number: int = -1
    reason: str | None = None
    wait: float = 0.0
    next_try: float = 0.0


@dataclass
class _Lane:
    """The state of a lane: whether its last call failed, and until when it pauses."""

    failed: bool = False
    wait: float = 0.0
    until: float = 0.0


@dataclass
class Messages:
    """The messages that have not been sent. Not thread-safe: callers need a lock."""

    _fresh: deque[Message] = field(default_factory=deque)
    _aside: list[Message] = field(default_factory=list)
    _tried: Message | None = None
    _hurried: bool = False
    _parents: dict[str, str | None] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _records: _Lane = field(default_factory=_Lane)
    _files: _Lane = field(default_factory=_Lane)
    # Counts of messages set aside: starts and records by run, files by run and path.
    _starts_of: Counter[str] = field(default_factory=Counter)
    _records_of: Counter[str] = field(default_factory=Counter)
    _files_of: Counter[tuple[str, str]] = field(default_factory=Counter)
    # Counts of all files that have not been sent, by run.
    _files_left: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._fresh) + len(self._aside) + (self._tried is not None)

    def put(self, message: Message) -> None:
        """Add a message at the end."""
        message.number = next(self._numbers)
        self._fresh.append(message)
        self._count_file(message, 1)

    def put_first(self, message: Message) -> None:
        """Add a message at the front."""
        self._fresh.appendleft(message)

    def below(self, key: str, parent: str | None) -> None:
        """Record the parent of a run."""
        self._parents[key] = parent

    def next(self) -> Message | None:
        """Return the message to try now, None if there is none; see `seconds_to_wait`.

        The caller must report the outcome with `sent` or `failed`.
        """
        self._tried = self._next(time.monotonic())
        return self._tried

    def _next(self, now: float) -> Message | None:
        for lane in (self._records, self._files):
            if lane.until and lane.until <= now:
                lane.until = 0.0
                self._look_again()
        again = self._due(now)
        if again is None or self._lane(again).failed:
            while self._fresh:
                message = self._fresh.popleft()
                if not self._aside or not self._must_wait(message):
                    return message
                self._put_aside(message)
        if again is not None:
            self._aside.remove(again)
        return again

    def seconds_to_wait(self) -> float | None:
        """Return the time until the next attempt, None if only a new message can lead to one."""
        times = [
            max(message.next_try, self._lane(message).until)
            for message in self._aside
            if message.reason is not None
        ]
        times += [lane.until for lane in (self._records, self._files) if lane.until]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def sent(self) -> None:
        """Remove the message that was tried: it was sent, or never will be."""
        assert self._tried is not None  # set by `next`
        lane, was_aside = self._lane(self._tried), self._tried.reason is not None
        if was_aside or lane.failed:
            lane.failed, lane.wait, lane.until = False, 0.0, 0.0
            self._look_again()
        self._count_file(self._tried, -1)
        self._tried = None

    def failed(self, reason: str, seconds: float) -> None:
        """Schedule another attempt for the message that was tried. `seconds`: how long the attempt
        took; its lane pauses at least as long, so that the other lane gets half the time.
        """
        message, now = self._tried, time.monotonic()
        assert message is not None  # set by `next`
        lane = self._lane(message)
        message.reason, message.wait = reason, _longer(message.wait)
        lane.failed, lane.wait = True, _longer(lane.wait)
        if not self._hurried:
            message.next_try, lane.until = now + message.wait, now + max(lane.wait, seconds)
        self._hurried = False
        self._put_aside(message)
        self._tried = None

    def hurry(self) -> None:
        """End all pauses and omit the next one, which an attempt in progress may cause."""
        self._hurried = True
        for lane in (self._records, self._files):
            lane.until = 0.0
        for message in self._aside:
            message.next_try = 0.0
        self._look_again()

    def give_up(self) -> list[Message]:
        """Remove and return the records that could not be sent, with later ones of the same runs;
        for a run that was not started, all messages of the run and its descendants.

        The end of a run is kept: its status can be set even if records are missing.
        """
        self._look_again()
        failed = [one for one in self._aside if one.kind is not Kind.FILE]
        no_runs = {one.key for one in failed if one.kind is Kind.START}
        no_records = {one.key for one in failed if one.kind is Kind.RECORD}
        dropped = {
            one
            for one in (*self._aside, *self._fresh)
            if one.key is not None
            and (
                not no_runs.isdisjoint(self._line(one.key))
                or (one.key in no_records and one.kind is Kind.RECORD)
            )
        }
        self._fresh = deque(one for one in self._fresh if one not in dropped)
        self._aside = [one for one in self._aside if one not in dropped]
        for one in dropped:
            self._count_file(one, -1)
        self._look_again()
        return sorted(dropped, key=lambda one: one.number)

    @property
    def trouble(self) -> str | None:
        """Why the oldest message that could not be sent failed; None if there is none."""
        return next((one.reason for one in self._aside if one.reason is not None), None)

    @property
    def records_fail(self) -> bool:
        """Whether the last call to the store failed."""
        return self._records.failed

    def has_files(self, key: str) -> bool:
        """Whether files of a run have not been sent."""
        return key in self._files_left

    def why_files_wait(self, key: str) -> str | None:
        """Return why files of a run that were set aside have not been sent; None if all have."""
        if not any(of == key for of, _ in self._files_of):
            return None
        failed = [one for one in self._aside if one.kind is Kind.FILE and one.reason is not None]
        own = next((one.reason for one in failed if one.key == key), None)
        return own or (failed[0].reason if failed else None)

    def _due(self, now: float) -> Message | None:
        """Return the message that was tried least recently, among those that are due."""
        due = [
            one
            for one in self._aside
            if one.reason is not None and max(one.next_try, self._lane(one).until) <= now
        ]
        return min(due, key=lambda one: one.next_try, default=None)

    def _must_wait(self, message: Message) -> bool:
        key = message.key
        if key is None:
            return self._aside[0].number < message.number
        if self._lane(message).until or any(one in self._starts_of for one in self._line(key)):
            return True
        if message.kind is Kind.FILE:
            return (key, message.path) in self._files_of
        if message.kind is Kind.END:
            return any(key in self._line(other) for other in self._records_of)
        return key in self._records_of

    def _put_aside(self, message: Message) -> None:
        insort(self._aside, message, key=lambda one: one.number)
        self._count(message)

    def _count(self, message: Message) -> None:
        if message.key is None:
            return
        if message.kind is Kind.FILE:
            self._files_of[message.key, message.path] += 1
        else:
            self._records_of[message.key] += 1
        if message.kind is Kind.START:
            self._starts_of[message.key] += 1

    def _count_file(self, message: Message, by: int) -> None:
        key = message.key
        if message.kind is Kind.FILE and key is not None:
            self._files_left[key] += by
            if self._files_left[key] == 0:
                del self._files_left[key]

    def _look_again(self) -> None:
        """Put back messages that were only waiting for others."""
        waiting = [one for one in self._aside if one.reason is None]
        self._aside = [one for one in self._aside if one.reason is not None]
        for counter in (self._starts_of, self._records_of, self._files_of):
            counter.clear()
        for message in self._aside:
            self._count(message)
        self._fresh.extendleft(reversed(waiting))

    def _lane(self, message: Message) -> _Lane:
        return self._files if message.kind is Kind.FILE else self._records

    def _line(self, key: str) -> Iterator[str]:
        """Yield the key of a run and of each of its ancestors."""
        one: str | None = key
        while one is not None:
            yield one
            one = self._parents.get(one)


def _longer(wait: float) -> float:
    return min(2 * wait, LONGEST_WAIT) if wait else FIRST_WAIT
