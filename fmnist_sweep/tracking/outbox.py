"""What goes to a tracker leaves the training at once and is sent from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from fmnist_sweep.errors import FmnistSweepError, NotTracked
from fmnist_sweep.tracking.tracker import RunStart, RunStatus, Tracker
from fmnist_sweep.training.results import EpochRecord

OnTrouble = Callable[[str | None], None]

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
_LOOKS_EVERY = 2.0
_PATIENCE_AT_THE_END = 120.0
_PATIENCE_AFTER_AN_ERROR = 3.0


class Outbox:
    """A tracker that takes every call at once and passes them on one after another, in order.

    A call that the tracker behind it cannot take is tried again, with growing pauses, until it
    can; those after it wait. Nothing that is said here ever raises: training goes on while a
    server is away, and `drain` tells what is left.

    Args:
        tracker: where to; used by the outbox's thread only.
        on_trouble: hears, in that thread, why a call had to wait, once until one gets through
            again; then None.
        what: is told, in messages.
    """

    def __init__(self, tracker: Tracker, on_trouble: OnTrouble, what: str) -> None:
        self._tracker = tracker
        self._on_trouble = on_trouble
        self._what = what
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._trials: set[str] = set()
        self._to_stop: set[str] = set()
        self._trouble: str | None = None
        self._closed = False
        self._hurry = False
        # A daemon: a tracker that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._send, name="outbox", daemon=True)
        self._thread.start()

    def start(self, run: RunStart) -> None:
        """Create the run of that key, or attach to it where it exists."""
        self._put(partial(self._tracker.start, run))
        if run.parent_key is not None:
            self._trials.add(run.key)

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Log an epoch's metrics."""
        self._put(partial(self._tracker.epoch, key, record))

    def metrics(self, key: str, metrics: Mapping[str, float], *, step: int, at: float) -> None:
        """Log metrics at a step."""
        self._put(partial(self._tracker.metrics, key, metrics, step=step, at=at))

    def tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._put(partial(self._tracker.tags, key, tags))

    def file(
        self, key: str, path: Path, folder: str = "", *, even_if_finished: bool = False
    ) -> None:
        """Upload a file, which has to stay where it is until it was sent: see `then`."""
        self._put(partial(self._tracker.file, key, path, folder, even_if_finished=even_if_finished))

    def content(self, key: str, make: Callable[[], str | bytes], name: str) -> None:
        """Write an artifact of that name; `make` is called when it is sent."""
        self._put(partial(self._tracker.content, key, make, name))

    def remove(self, key: str, path: str) -> None:
        """Delete an artifact."""
        self._put(partial(self._tracker.remove, key, path))

    def end(self, key: str, status: RunStatus, *, at: float) -> None:
        """Give the run its final status."""
        self._put(partial(self._tracker.end, key, status, at=at))
        self._trials.discard(key)

    def cut_off(self, key: str, status: RunStatus, reason: str | None, *, at: float) -> None:
        """Give a run that is still open its final status."""
        self._put(partial(self._tracker.cut_off, key, status, reason, at=at))

    def is_stop_asked(self, key: str) -> bool:
        """Whether somebody had tagged the run when it was last looked at, seconds ago."""
        return key in self._to_stop

    def then(self, call: Callable[[], None]) -> None:
        """Call that, in the outbox's thread, once all that was said before was sent."""
        self._put(partial(self._tracker.then, call))

    def where(self, key: str) -> str | None:
        """Return the tracker's own id of the run, None where there is none (yet)."""
        return self._tracker.where(key)

    def finish(self) -> None:
        """Wait until everything was sent, however long that takes.

        Raises:
            NotTracked: for minutes nothing could be sent; says why.
        """
        left = len(self._calls)
        trouble = self.drain(_PATIENCE_AT_THE_END)
        while trouble is not None and len(self._calls) < left:
            left = len(self._calls)
            trouble = self.drain(_PATIENCE_AT_THE_END)
        if trouble is not None:
            raise NotTracked(
                f"{self._what}: {len(self._calls)} messages to the tracker could not be sent: "
                f"{trouble}"
            )

    def drain(self, seconds: float) -> str | None:
        """Wait until everything was sent, but no longer than that.

        Returns:
            Why something is left, or None where nothing is.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            self._hurry = True  # a pause between two tries ends now
            self._changed.notify_all()
            while self._calls and time.monotonic() < deadline:
                self._changed.wait(max(0.0, deadline - time.monotonic()))
            if not self._calls:
                return None
            return self._trouble or f"{len(self._calls)} calls are still being sent"

    def close(self) -> None:
        """Send nothing more; what is left is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _put(self, call: Callable[[], None]) -> None:
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def _send(self) -> None:
        wait, next_look = _FIRST_WAIT, time.monotonic() + _LOOKS_EVERY
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._calls or self._closed, next_look - time.monotonic()
                )
                if self._closed:
                    return
                call = self._calls[0] if self._calls else None
            if time.monotonic() >= next_look:
                self._look_for_stops()
                next_look = time.monotonic() + _LOOKS_EVERY
            if call is None:
                continue
            try:
                call()
            except Exception as error:  # noqa: BLE001 - none may end this thread unsaid
                self._say(_in_words(error))
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._hurry, timeout=wait)
                    self._hurry = False
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                wait = _FIRST_WAIT
                self._say(None)
                with self._changed:
                    self._calls.popleft()
                    self._changed.notify_all()

    def _look_for_stops(self) -> None:
        for key in () if self._trouble else tuple(self._trials):
            if self._tracker.where(key) is None:
                continue  # its start is yet to be sent
            try:
                is_asked = self._tracker.is_stop_asked(key)
            except Exception as error:  # noqa: BLE001 - as above
                self._say(_in_words(error))
                return
            (self._to_stop.add if is_asked else self._to_stop.discard)(key)

    def _say(self, trouble: str | None) -> None:
        if (trouble is None) != (self._trouble is None):
            self._on_trouble(trouble)
        self._trouble = trouble


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, FmnistSweepError) else f"{type(error).__name__}: {error}"


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


def keep_quiet(trouble: str | None) -> None:
    """Say nothing of trouble that may pass; what does not pass is an error at the end."""
