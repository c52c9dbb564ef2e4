"""Sends messages to a tracker from a separate thread, so that training never waits for it."""

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
    """A tracker that queues every call and passes it on to another tracker, in order.

    A call that fails is retried with growing pauses until it succeeds; calls that depend on it
    wait, others do not (`messages.py`). A run that ends while its files are waiting is FAILED, with
    the reason, until they are sent. A call that the tracker refuses is dropped: its run does not
    end as FINISHED, so that the next start sends it again, and `finish` reports it. Messages of a
    deleted run are dropped too, which is an error only for the topmost run.

    No method raises an error while queueing: training continues while a server is down, and `drain`
    returns what is left.

    Args:
        tracker: receives the calls, only from the outbox's thread.
        on_trouble: called in that thread with the reason when calls start to wait, and with None
            when nothing waits any longer.
        what: what is being sent, for messages.
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
        # Runs to be ended as FINISHED, with the time, once their files are sent.
        self._ends: dict[str, float] = {}
        self._said_trouble = False
        self._closed = False
        # A daemon thread, so that a tracker that does not respond cannot keep the process alive.
        self._thread = threading.Thread(target=self._send, name="outbox", daemon=True)
        self._thread.start()

    def start(self, run: RunStart) -> None:
        """Create the run with that key, or attach to it if it exists."""
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
        """Upload a file, which must not be moved until it was sent: see `then`."""
        send = partial(self._tracker.file, key, path, folder, even_if_finished=even_if_finished)
        self._put(Kind.FILE, key, send, f"{folder}/{path.name}".lstrip("/"))

    def content(self, key: str, make: Callable[[], str | bytes], name: str) -> None:
        """Write an artifact with that name; `make` is called when it is sent."""
        self._put(Kind.FILE, key, partial(self._tracker.content, key, make, name), name)

    def remove(self, key: str, path: str) -> None:
        """Delete an artifact."""
        self._put(Kind.FILE, key, partial(self._tracker.remove, key, path), path)

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        """Set the run's final status."""
        self._put(Kind.END, key, partial(self._end, key, status, at=at))
        self._open.discard(key)

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        """Set the final status of a run that is still open."""
        self._put(Kind.END, key, partial(self._tracker.cut_off, key, status, reason, at=at))

    def is_stop_asked(self, key: str) -> bool:
        """Whether the run had the stop tag when it was last checked, seconds ago."""
        return key in self._to_stop

    def then(self, call: Callable[[], None]) -> None:
        """Call `call` in the outbox's thread once everything before was sent; never if some of it
        cannot be sent, because the next start may need what the call would delete."""
        self._put(Kind.THEN, None, partial(self._then, call))

    def where(self, key: str) -> str | None:
        """Return the tracker's ID of the run, None if it does not exist (yet or any longer)."""
        return None if self._unsent.concerns_deleted(key) else self._tracker.where(key)

    def finish(self) -> None:
        """Wait until everything was sent, without a time limit.

        Raises:
            NotTracked: nothing could be sent for minutes, or a message was refused; says why.
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
        """Wait until everything was sent, at most for `seconds`.

        Returns:
            Why something is left, None if nothing is.
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
        """Drop what could not be sent, so that the affected runs can at least be ended; return the
        number of messages."""
        with self._changed:
            dropped = self._messages.give_up()
            for message in dropped:
                if message.key is not None:
                    self._unsent.lack(message.key, message.reason or trouble)
        if dropped:
            self.drain(_PATIENCE_AFTER_GIVING_UP)
        return len(dropped)

    def close(self) -> None:
        """Stop sending; unsent messages are discarded."""
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
        """Send a message, or drop it for good; return why it has to be retried, if so."""
        if message.key is not None and self._unsent.concerns_deleted(message.key):
            return None
        try:
            message.send()
        except RunDeleted as error:
            self._let_go(error)
        except Exception as error:  # noqa: BLE001 - no error may end this thread silently
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
            self._tracker.cut_off(key, RunStatus.FAILED, f"incomplete tracking data: {why}", at=at)

    def _end_at_last(self, sent: Message) -> None:
        """End a run that waited for its files, if the last of them was sent."""
        key = sent.key
        if key in self._ends and key is not None and not self._messages.has_files(key):
            send = partial(self._end, key, RunStatus.FINISHED, at=self._ends.pop(key))
            self._messages.put_first(Message(Kind.END, key, send))

    def _then(self, call: Callable[[], None]) -> None:
        if self._unsent.is_complete:
            try:
                self._tracker.then(call)
            except Exception as error:  # not caused by an unavailable tracker
                raise Refused(in_words(error)) from error

    def _look_at_open_runs(self) -> None:
        """Check which trials are to be stopped, and which runs were deleted."""
        for key in () if self._messages.records_fail else tuple(self._open):
            if self.where(key) is None:
                continue  # not started yet
            try:
                is_asked = self._tracker.is_stop_asked(key)
            except RunDeleted as error:
                self._let_go(error)
            except Exception:  # noqa: BLE001 - as above; the next message reports it
                return
            else:
                (self._to_stop.add if is_asked else self._to_stop.discard)(key)

    def _let_go(self, error: RunDeleted) -> None:
        if not self._unsent.concerns_deleted(error.key):
            with suppress(Exception):  # as in `_say`
                _log.warning("%s: logging to it ends", error)
            complaint = f"{error}; later data was not logged"
            self._unsent.delete(error.key, complaint if error.key in self._roots else "")

    def _say(self, trouble: str | None) -> None:
        if (trouble is not None) != self._said_trouble:
            self._said_trouble = trouble is not None
            with suppress(Exception):  # the callback may fail; sending continues
                self._on_trouble(trouble)


@contextmanager
def sending(tracker: Tracker, on_trouble: OnTrouble, what: str) -> Iterator[Outbox]:
    """Yield an outbox; if the block raises, send what is left, for at most some seconds."""
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
    """Ignore temporary trouble; permanent trouble is raised at the end."""
