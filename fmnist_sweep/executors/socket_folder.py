"""The folder of an owner's socket, and what a killed owner left of such."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "fmnist-socket-"


@contextmanager
def socket_folder() -> Iterator[Path]:
    """Have a folder of this user's alone inside the block, with a path short enough for a socket's.

    Its owner holds a lock on it, which the system lets go of with the process: whoever gets that
    lock may remove it. Programs that clear /tmp of what is old heed it too, see
    https://systemd.io/TEMPORARY_DIRECTORIES/.
    """
    folder, lock = _make()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned() -> None:
    """Remove those of this user's folders whose owners were killed, whichever sweep's they were."""
    for folder in _place().glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, no folder, a link, or gone meanwhile
            _remove_if_abandoned(folder)


def _place() -> Path:
    # A socket's path may not be long, which that of the usual folder for such things may be.
    short = Path("/tmp")
    return short if short.exists() else Path(tempfile.gettempdir())


def _make() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place()))
        try:
            lock = _opened(folder)
        except FileNotFoundError:  # taken for an abandoned one before it was locked
            continue
        with suppress(OSError):  # a file system without locks: nobody gets one, all of them stay
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _remove_if_abandoned(folder: Path) -> None:
    lock = _opened(folder)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its owner lives
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
