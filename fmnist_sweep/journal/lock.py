"""Ensures that only one process runs a sweep, or a single training."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fmnist_sweep.errors import SweepStopped


@contextmanager
def held(path: Path, what: str = "sweep") -> Iterator[None]:
    """Hold the lock of a sweep, or of another `what` with a folder of its own, inside the block.
    The system releases it when the process dies.

    Raises:
        SweepStopped: another process holds it; the message names its host and pid.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise SweepStopped(
                    f"{what} {path.parent.name} is already running, locked by {holder}; "
                    "wait for it, or stop it and run the same command again"
                ) from error
            if not _is_at(path, file):
                continue  # the previous holder removed the folder
            file.seek(0)
            file.truncate()
            file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield
            return


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
