"""One training at a time in a process: what a process has once is never shared by two threads.

That is Python's, NumPy's and TensorFlow's random generators, the registry of gradients, the limits
of linear-algebra libraries. What follows from a config alone waits for its turn; what would run for
long, or hangs on generators that the caller has seeded, is refused beside another one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fmnist_sweep.errors import UserError

_log = logging.getLogger(__name__)
_alone = threading.Lock()
_turn = threading.RLock()
_here = threading.local()  # `depth`: of the blocks that this thread is in
_holder = ""


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Run the block unless another thread is in such a block; also a decorator. Inside a block of
    the same thread, a turn too, it changes nothing.

    Raises:
        UserError: another thread is in such a block.
    """
    global _holder
    if getattr(_here, "depth", 0):
        yield
        return
    if not _alone.acquire(blocking=False):
        raise _cannot_run(what)
    try:
        _holder = what
        with _inside():
            yield
    finally:
        _alone.release()


@contextmanager
def in_turn_beside_none(what: str) -> Iterator[None]:
    """Run the block in turn, but refuse it beside an `alone` block of another thread; also a
    decorator.

    Raises:
        UserError: another thread is in such a block.
    """
    if _alone.locked() and not getattr(_here, "depth", 0):
        raise _cannot_run(what)
    with in_turn():
        yield


@contextmanager
def in_turn() -> Iterator[None]:
    """Run the block when no other thread is in such a block; also a decorator."""
    if not _turn.acquire(blocking=False):
        _log.info("waits for a training in another thread of this process")
        _turn.acquire()
    try:
        with _inside():
            yield
    finally:
        _turn.release()


def _cannot_run(what: str) -> UserError:
    return UserError(
        f"{what} cannot run beside {_holder} in another thread of this process: they would share "
        "random generators and change each other's results; run one after the other, or start "
        "another process"
    )


@contextmanager
def _inside() -> Iterator[None]:
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
