"""Atomic writing of files, and digests of plain values."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fmnist_sweep.errors import ConfigError
from fmnist_sweep.interrupts import stop_if_asked


@contextmanager
def write_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for atomic writing: it replaces `path` only if the block ends without an error.

    The content is written beside `path`, flushed to disk, and renamed, so that a reader sees either
    the old or the new content. Nothing is written after the process was asked to stop, because the
    content may be the consequence of an interrupt that a library has swallowed.
    """
    stop_if_asked()
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put_in_place(temporary: Path, path: Path) -> None:
    """Move a file that was written beside `path` to `path`, after flushing it to disk."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _remove_orphans(path: Path) -> None:
    """Remove temporary files of this file that killed processes left."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        writer = temporary.name.split(".")[-2]
        if not (writer.isdecimal() and is_running(int(writer))):
            temporary.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether there is a process with that id, of any user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process
    return True


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with write_whole(path) as file:
        file.write(text.encode())


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces, so that equal values have equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a plain value, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def size_of(folder: Path) -> int:
    """Return the total size in bytes of all files in a folder, 0 if there is none."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def folder_in(root: Path, name: str) -> Path:
    """Return the folder with a name in `root`, whether or not it exists.

    Raises:
        ConfigError: it is a link, so that files would be written elsewhere.
    """
    folder = root / name
    if folder.is_symlink():
        raise ConfigError(f"{folder}: is a link; allowed: a folder")
    return folder


def check_writable(*folders: Path) -> None:
    """Reject output folders that are not writable, before a run begins.

    Raises:
        ConfigError: names the folder.
    """
    for folder in folders:
        if not can_be_written(folder):
            raise ConfigError(f"{folder}: is not writable; allowed: a writable folder")


def can_be_written(folder: str | Path) -> bool:
    """Whether files can be written to a folder, which may not exist yet."""
    existing = Path(folder).absolute()
    try:
        while not existing.exists():
            existing = existing.parent
    except PermissionError:  # no permission for a folder above it
        return False
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
