"""Keeps the terminal's signals from processes that are started here."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from fmnist_sweep.executors.worker_messages import OWNERS_SIGNALS


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Keep a process that is started here from receiving the terminal's signals before it can
    ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OWNERS_SIGNALS)
    try:
        # It enables SIGINT again once it has started.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, OWNERS_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
