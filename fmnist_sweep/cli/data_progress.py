"""Lines that say how far the reading of a large data set is."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from rich.console import Console

from fmnist_sweep.data.progress import watched_by

_SECONDS = 3.0


def progress_lines(out: Console) -> AbstractContextManager[None]:
    """Print a line every few seconds while data are read inside the block."""
    last = time.monotonic()

    def say(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS:
            last = now
            out.print(f"{what}: {done:,} of {total:,}", soft_wrap=True)

    return watched_by(say)
