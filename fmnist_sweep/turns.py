"""Allows one training at a time in a process, because some state is shared by all threads.

This is the random generators of Python, NumPy and TensorFlow, the gradient registry, and thread
limits of linear-algebra libraries. Code whose result depends only on a config waits for its turn;
code that runs for long, or depends on generators seeded by the caller, is refused meanwhile.
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
_here = threading.local()  # `depth`: number of nested blocks of this thread
_holder = ""


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Run the block unless another thread is in such a block; also a decorator. Inside another
    block of the same thread it has no effect.

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
    """Run the block in turn, but not while another thread is in an `alone` block; also a decorator.

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
        _log.info("waiting for a training in another thread of this process")
        _turn.acquire()
    try:
        with _inside():
            yield
    finally:
        _turn.release()


def _cannot_run(what: str) -> UserError:
    return UserError(
        f"{what} cannot run beside {_holder} in another thread of this process, because they share "
        "random generators and would change each other's results; run them one after the other, or "
        "in separate processes"
    )


@contextmanager
def _inside() -> Iterator[None]:
    _here.depth = getattr(_here, "depth", 0) + 1
    try:
        yield
    finally:
        _here.depth -= 1
