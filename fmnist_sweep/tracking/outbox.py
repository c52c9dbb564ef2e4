"""What goes to a tracker leaves the training at once and is sent from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from fmnist_sweep.errors import NotTracked, Refused, RunDeleted
from fmnist_sweep.tracking.messages import Kind, Message, Messages
from fmnist_sweep.tracking.tracker import RunStart, RunStatus, Tracker
from fmnist_sweep.tracking.unsent import Unsent, in_words, may_pass
from fmnist_sweep.training.results import EpochRecord

_log = logging.getLogger(__name__)

OnTrouble = Callable[[str | None], None]

_LOOKS_EVERY = 2.0
_PATIENCE_AT_THE_END = 120.0
_PATIENCE_AFTER_GIVING_UP = 10.0
_PATIENCE_AFTER_AN_ERROR = 3.0


class Outbox:
    """A tracker that takes every call at once and passes them on, in order.

    A call that the tracker behind it cannot take is tried again, with growing pauses, until it
    can; what depends on it waits, the rest does not (`messages.py`). A run that ends while one of
    its files waits is FAILED, with the reason, until that file is sent. A call that the tracker
    never will take is left out: its run does not end as FINISHED, so that the next start sends it
    again, and `finish` says so. What concerns a run that somebody has deleted is left out too,
    which is an error only of the run above all others.

    Nothing that is said here ever raises: training goes on while a server is away, and `drain`
    tells what is left.

    Args:
        tracker: where to; used by the outbox's thread only.
        on_trouble: called, in that thread, with why a call has to wait, once until nothing waits
            any more; then with None.
        what: is sent, in messages.
    """

    def __init__(self, tracker: Tracker, on_trouble: OnTrouble, what: str) -> None:
        self._tracker = tracker
        self._on_trouble = on_trouble
        self._what = what
        self._messages = Messages()
        self._unsent = Unsent()
        self._changed = threading.Condition()
        self._roots: set[str] = set()
        self._open: set[str] = set()
        self._to_stop: set[str] = set()
        # Runs that are to end as FINISHED, at that time, once their files are sent.
        self._ends: dict[str, float] = {}
        self._said_trouble = False
        self._closed = False
        # A daemon: a tracker that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._send, name="outbox", daemon=True)
        self._thread.start()

    def start(self, run: RunStart) -> None:
        """Create the run of that key, or attach to it where it exists."""
        with self._changed:
            self._messages.below(run.key, run.parent_key)
        self._put(Kind.START, run.key, partial(self._start, run))
        self._open.add(run.key)
        if run.parent_key is None:
            self._roots.add(run.key)

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Log an epoch's metrics."""
        self._put(Kind.RECORD, key, partial(self._tracker.epoch, key, record))

    def metrics(self, key: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        """Log metrics at a step."""
        self._put(Kind.RECORD, key, partial(self._tracker.metrics, key, metrics, step=step, at=at))

    def tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._put(Kind.RECORD, key, partial(self._tracker.tags, key, tags))

    def file(
        self, key: str, path: Path, folder: str = "", *, even_if_finished: bool = False
    ) -> None:
        """Upload a file, which has to stay where it is until it was sent: see `then`."""
        send = partial(self._tracker.file, key, path, folder, even_if_finished=even_if_finished)
        self._put(Kind.FILE, key, send, f"{folder}/{path.name}".lstrip("/"))

    def content(self, key: str, make: Callable[[], str | bytes], name: str) -> None:
        """Write an artifact of that name; `make` is called when it is sent."""
        self._put(Kind.FILE, key, partial(self._tracker.content, key, make, name), name)

    def remove(self, key: str, path: str) -> None:
        """Delete an artifact."""
        self._put(Kind.FILE, key, partial(self._tracker.remove, key, path), path)

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        """Give the run its final status."""
        self._put(Kind.END, key, partial(self._end, key, status, at=at))
        self._open.discard(key)

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        """Give a run that is still open its final status."""
        self._put(Kind.END, key, partial(self._tracker.cut_off, key, status, reason, at=at))

    def is_stop_asked(self, key: str) -> bool:
        """Whether somebody had tagged the run when it was last looked at, seconds ago."""
        return key in self._to_stop

    def then(self, call: Callable[[], None]) -> None:
        """Call that, in the outbox's thread, once all that was said before was sent; not at all
        where some of it cannot be: the next start may need what the call would delete."""
        self._put(Kind.THEN, None, partial(self._then, call))

    def where(self, key: str) -> str | None:
        """Return the tracker's own id of the run, None where there is none (yet, or any more)."""
        return None if self._unsent.concerns_deleted(key) else self._tracker.where(key)

    def finish(self) -> None:
        """Wait until everything was sent, however long that takes.

        Raises:
            NotTracked: for minutes nothing could be sent, or something was refused; says why.
        """
        left = len(self._messages)
        trouble = self.drain(_PATIENCE_AT_THE_END)
        while trouble is not None and len(self._messages) < left:
            left = len(self._messages)
            trouble = self.drain(_PATIENCE_AT_THE_END)
        if trouble is not None:
            given_up = self._give_up(trouble)
            raise NotTracked(
                f"{self._what}: {given_up + len(self._messages)} messages to the tracker could "
                f"not be sent: {' '.join(trouble.split())}"
            )
        complaint = self._unsent.complaint()
        if complaint is not None:
            raise NotTracked(f"{self._what}: {complaint}")

    def drain(self, seconds: float) -> str | None:
        """Wait until everything was sent, but no longer than that.

        Returns:
            Why something is left, or None where nothing is.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            self._messages.hurry()
            self._changed.notify_all()
            while self._messages and time.monotonic() < deadline:
                self._changed.wait(max(0.0, deadline - time.monotonic()))
            if not self._messages:
                return None
            return self._messages.trouble or f"{len(self._messages)} calls are still being sent"

    def _give_up(self, trouble: str) -> int:
        """Leave out what could not be sent, so that the runs that lack it can end at least; return
        how many messages that is."""
        with self._changed:
            dropped = self._messages.give_up()
            for message in dropped:
                if message.key is not None:
                    self._unsent.lack(message.key, message.reason or trouble)
        if dropped:
            self.drain(_PATIENCE_AFTER_GIVING_UP)
        return len(dropped)

    def close(self) -> None:
        """Send nothing more; what is left is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _put(self, kind: Kind, key: str | None, send: Callable[[], None], path: str = "") -> None:
        with self._changed:
            self._messages.put(Message(kind, key, send, path))
            self._changed.notify_all()

    def _send(self) -> None:
        next_look = time.monotonic() + _LOOKS_EVERY
        while True:
            with self._changed:
                message = None if self._closed else self._messages.next()
                if message is None and not self._closed:
                    pause = max(0.0, next_look - time.monotonic())
                    until_due = self._messages.seconds_to_wait()
                    self._changed.wait(pause if until_due is None else min(pause, until_due))
                    message = None if self._closed else self._messages.next()
                if self._closed:
                    return
            if time.monotonic() >= next_look:
                self._look_at_open_runs()
                next_look = time.monotonic() + _LOOKS_EVERY
            if message is None:
                continue
            started = time.monotonic()
            trouble = self._pass_on(message)
            with self._changed:
                if trouble is None:
                    self._messages.sent()
                    self._end_at_last(message)
                else:
                    self._messages.failed(trouble, time.monotonic() - started)
                trouble = self._messages.trouble
                self._changed.notify_all()
            self._say(trouble)

    def _pass_on(self, message: Message) -> str | None:
        """Send it, or leave it out for good; return why neither is to be done as yet."""
        if message.key is not None and self._unsent.concerns_deleted(message.key):
            return None
        try:
            message.send()
        except RunDeleted as error:
            self._let_go(error)
        except Exception as error:  # noqa: BLE001 - none may end this thread unsaid
            if may_pass(error):
                return in_words(error)
            self._unsent.refuse(message.key, in_words(error))
        return None

    def _start(self, run: RunStart) -> None:
        self._ends.pop(run.key, None)
        if run.parent_key is None or not self._unsent.concerns_deleted(run.parent_key):
            try:
                return self._tracker.start(run)
            except RunDeleted as error:
                self._let_go(error)
        self._unsent.delete(run.key)

    def _end(self, key: str, status: RunStatus, *, at: float) -> None:
        why = self._unsent.why_incomplete(key)
        if status is not RunStatus.FINISHED:
            self._tracker.end(key, status, at=at)
            return
        if why is None:
            with self._changed:
                why = self._messages.why_files_wait(key)
            if why is not None:
                self._ends[key] = at
        if why is None:
            self._tracker.end(key, status, at=at)
        else:
            self._tracker.cut_off(key, RunStatus.FAILED, f"not tracked whole: {why}", at=at)

    def _end_at_last(self, sent: Message) -> None:
        """End a run that has waited for its files, where that was the last of them."""
        key = sent.key
        if key in self._ends and key is not None and self._messages.why_files_wait(key) is None:
            send = partial(self._end, key, RunStatus.FINISHED, at=self._ends.pop(key))
            self._messages.put_first(Message(Kind.END, key, send))

    def _then(self, call: Callable[[], None]) -> None:
        if self._unsent.is_complete:
            try:
                self._tracker.then(call)
            except Exception as error:  # whatever it is, it is not a tracker that is away
                raise Refused(in_words(error)) from error

    def _look_at_open_runs(self) -> None:
        """Learn which trials are to be stopped, and which runs were deleted."""
        for key in () if self._messages.records_fail else tuple(self._open):
            if self.where(key) is None:
                continue  # its start is yet to be sent
            try:
                is_asked = self._tracker.is_stop_asked(key)
            except RunDeleted as error:
                self._let_go(error)
            except Exception:  # noqa: BLE001 - as above; the next message says so
                return
            else:
                (self._to_stop.add if is_asked else self._to_stop.discard)(key)

    def _let_go(self, error: RunDeleted) -> None:
        if not self._unsent.concerns_deleted(error.key):
            with suppress(Exception):  # as in `_say`
                _log.warning("%s: nothing more is written of it", error)
            complaint = f"{error}; what came after is not there"
            self._unsent.delete(error.key, complaint if error.key in self._roots else "")

    def _say(self, trouble: str | None) -> None:
        if (trouble is not None) != self._said_trouble:
            self._said_trouble = trouble is not None
            with suppress(Exception):  # whoever listened may be gone; the sending goes on
                self._on_trouble(trouble)


@contextmanager
def sending(tracker: Tracker, on_trouble: OnTrouble, what: str) -> Iterator[Outbox]:
    """Give an outbox to the block; after an error, send for seconds what is in it still."""
    outbox = Outbox(tracker, on_trouble, what)
    try:
        yield outbox
    except BaseException as error:
        if not isinstance(error, NotTracked):
            outbox.drain(_PATIENCE_AFTER_AN_ERROR)
        raise
    finally:
        outbox.close()
        tracker.close()


def keep_quiet(trouble: str | None) -> None:
    """Say nothing of trouble that may pass; what does not pass is an error at the end."""
