"""The progress callback for reading a data set.

A variable of the context, so that a loader need not be handed what only the command line has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how many pictures that is done for, and how many there are."""

_watcher: ContextVar[OnProgress | None] = ContextVar("watcher of data", default=None)


@contextmanager
def watched_by(on_progress: OnProgress) -> Iterator[None]:
    """Report progress to `on_progress` while the block runs."""
    before = _watcher.set(on_progress)
    try:
        yield
    finally:
        _watcher.reset(before)


def report(what: str, done: int, total: int) -> None:
    """Call the progress callback, if there is one."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(what, done, total)
