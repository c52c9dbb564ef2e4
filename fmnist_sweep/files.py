"""Files that are written whole or not at all, and the digests of plain values."""

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
    """Open a file for writing that takes its place only when the block ends without an error.

    Written beside `path`, flushed to disk, then renamed: a reader sees the old content or the
    new, never half of it, whatever happens in between. Nothing is written once the process was
    asked to stop: what it would say may come of an interrupt that some library has swallowed.
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
    """Have a file that was written beside `path` take its place, once it is on disk."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _remove_orphans(path: Path) -> None:
    """Remove what a process left that was killed while it wrote that file."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        writer = temporary.name.split(".")[-2]
        if not (writer.isdecimal() and _is_running(int(writer))):
            temporary.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def write_text_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with write_whole(path) as file:
        file.write(text.encode())


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: the same value, the same text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a plain value, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder, 0 where there is none."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def folder_in(root: Path, name: str) -> Path:
    """Return the folder of that name in `root`, whether it is there or not.

    Raises:
        ConfigError: a link stands there; what is written to it would lie elsewhere.
    """
    folder = root / name
    if folder.is_symlink():
        raise ConfigError(f"{folder}: is a link; allowed: a folder")
    return folder


def check_writable(*folders: Path) -> None:
    """Refuse output folders that cannot be written, before a run is begun in them.

    Raises:
        ConfigError: names the folder.
    """
    for folder in folders:
        if not can_be_written(folder):
            raise ConfigError(f"{folder}: cannot be written; allowed: a folder that is yours")


def can_be_written(folder: str | Path) -> bool:
    """Whether files can be written to a folder, which may have to be made first."""
    existing = Path(folder).absolute()
    try:
        while not existing.exists():
            existing = existing.parent
    except PermissionError:  # a folder above it is closed to this user
        return False
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
