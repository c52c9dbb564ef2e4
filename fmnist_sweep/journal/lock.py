"""Ensures that only one process runs a sweep."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fmnist_sweep.errors import SweepStopped


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a sweep's lock inside the block. The system releases it when the process dies.

    Raises:
        SweepStopped: another process holds it; the message names its host and pid.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise SweepStopped(
                f"sweep {path.parent.name} is already running, locked by {holder}; "
                "wait for it, or stop it and run the same command again"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
