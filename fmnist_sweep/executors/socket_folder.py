"""The folder of an owner's socket, and removal of those that killed owners left."""

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
    """Yield a folder that only this user can access, with a path short enough for a socket.

    Its owner holds a lock on it, which the system releases when the process ends. A process that
    gets the lock may remove the folder. Programs that clean up /tmp respect the lock too, see
    https://systemd.io/TEMPORARY_DIRECTORIES/.
    """
    folder, lock = _make()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned() -> None:
    """Remove this user's folders whose owners were killed, of any sweep."""
    for folder in _place().glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, not a folder, a link, or already removed
            _remove_if_abandoned(folder)


def _place() -> Path:
    # A socket's path has a short maximum length, which the usual temporary folder may exceed.
    short = Path("/tmp")
    return short if short.exists() else Path(tempfile.gettempdir())


def _make() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place()))
        try:
            lock = _opened(folder)
        except FileNotFoundError:  # removed as abandoned before it was locked
            continue
        with suppress(OSError):  # no locks on this file system: folders are never removed
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _remove_if_abandoned(folder: Path) -> None:
    lock = _opened(folder)
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while its owner is running
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
