"""Arrays that were made of files, kept on disk and mapped.

An entry is a folder, `<place>-<content>`: `place` says which data set is meant and how it is read,
`content` is a digest of that and of every file's bytes. It holds raw arrays and `about.json` with
their shapes and digests, which are compared each time that the entry is opened; an entry that is
damaged is made again. It is written to a temporary folder and renamed, so that two processes can
make the same one at once. Files that another process removes stay mapped.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.errors import RunError
from fmnist_sweep.files import check_writable, digest_of, is_running
from fmnist_sweep.interrupts import stop_if_asked

_ABOUT = "about.json"
_DIGITS = 16, 32  # of place and content, in an entry's name
_AT_A_TIME = 1 << 22  # bytes


@dataclass(frozen=True, eq=False)
class Entry:
    """Arrays by name, mapped copy-on-write unless they are empty, and plain values about them."""

    arrays: dict[str, NDArray[Any]]
    about: dict[str, Any]


class ArrayFile:
    """An array that is written to a file a part at a time."""

    def __init__(self, path: Path, item: tuple[int, ...], dtype: str) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._item, self._dtype, self._length = item, np.dtype(dtype), 0

    def append(self, items: NDArray[Any]) -> None:
        """Write further items, of the array's dtype, (n, *item)."""
        part = np.ascontiguousarray(items, self._dtype)
        self._file.write(part.data)
        self._digest.update(part.data)
        self._length += len(part)

    def close(self) -> dict[str, Any]:
        """Close the file, and return what `about.json` says of it."""
        self._file.close()
        return {
            "shape": [self._length, *self._item],
            "dtype": self._dtype.str,
            "sha256": self._digest.hexdigest(),
        }

    def abandon(self) -> None:
        """Close the file."""
        self._file.close()


class Making:
    """An entry that is being written. The caller fills `about`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, ArrayFile] = {}
        self.about: dict[str, Any] = {}

    def array(self, name: str, item: tuple[int, ...], dtype: str) -> ArrayFile:
        """Begin an array, whose items have the shape `item`."""
        self._files[name] = ArrayFile(self._folder / f"{name}.bin", item, dtype)
        return self._files[name]

    def finish(self, content: str) -> None:
        """Write `about.json`."""
        arrays = {name: file.close() for name, file in self._files.items()}
        plain = {"content": content, "arrays": arrays, "about": self.about}
        text = json.dumps({**plain, "sha256": digest_of(plain)})
        (self._folder / _ABOUT).write_text(text, encoding="utf-8")

    def abandon(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.abandon()


def kept(folder: Path, place: str, content: str, make: Callable[[Making], None]) -> Entry:
    """Return the entry of that place and content in `folder`; if there is none, or it is damaged,
    `make` writes it. Entries of the same place and other content are removed.

    Args:
        folder: the cache.
        place: digest of what is read, and how.
        content: digest of `place` and of what the files hold.
        make: writes the arrays.

    Raises:
        ConfigError: the folder is not writable.
        RunError: the entry cannot be written, for example because the disk is full.
        Exception: whatever `make` raises; nothing is left behind.
    """
    path = folder / f"{place[: _DIGITS[0]]}-{content[: _DIGITS[1]]}"
    entry = _opened(path, content)
    return _made(path, content, make) if entry is None else entry


def _made(path: Path, content: str, make: Callable[[Making], None]) -> Entry:
    folder = path.parent
    check_writable(folder)
    new = [parent for parent in (folder, folder.parent) if not parent.exists()]
    temporary = folder / f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp"
    making = Making(temporary)
    try:
        _remove_orphans(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        make(making)
        making.finish(content)
        stop_if_asked()
        entry = _opened(temporary, content)
        if entry is None:
            raise RunError(f"{temporary}: what was written there was changed by something else")
        _publish(temporary, path)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        making.abandon()
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in new:  # in case that nothing was written
            with suppress(OSError):
                parent.rmdir()
    _remove_superseded(path)
    return entry


def _publish(temporary: Path, path: Path) -> None:
    """Rename an entry to its place, unless a good one is there already."""
    with suppress(OSError):
        temporary.rename(path)
        return
    if _opened(path, None) is not None:
        return
    # Damaged. If another process puts a good one there meanwhile, then that one stays.
    damaged = temporary.with_suffix(".damaged")
    with suppress(OSError):
        path.rename(damaged)
        temporary.rename(path)
    shutil.rmtree(damaged, ignore_errors=True)


def _opened(path: Path, content: str | None) -> Entry | None:
    """Return an entry whose files are what `about.json` says; None if they are not, or absent."""
    try:
        found = json.loads((path / _ABOUT).read_text(encoding="utf-8"))
        plain = {key: found[key] for key in ("content", "arrays", "about")}
        if found["sha256"] != digest_of(plain) or content not in (None, plain["content"]):
            return None
        arrays = {name: _mapped(path / f"{name}.bin", how) for name, how in found["arrays"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Entry(arrays, plain["about"])


def _mapped(path: Path, how: dict[str, Any]) -> NDArray[Any]:
    """Map an array copy-on-write, since TensorFlow takes writable memory alone as it is.

    Raises ValueError if the file has another size or digest.
    """
    shape, dtype = tuple(how["shape"]), np.dtype(how["dtype"])
    if path.stat().st_size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path} has another size")
    if 0 in shape:  # nothing to map
        return np.empty(shape, dtype)
    array = np.memmap(path, dtype, mode="c", shape=shape)
    digest, flat = hashlib.sha256(), array.reshape(-1).view(np.uint8)
    for start in range(0, len(flat), _AT_A_TIME):
        digest.update(flat[start : start + _AT_A_TIME].data)
    if digest.hexdigest() != how["sha256"]:
        raise ValueError(f"{path} has other content")
    return array


def _remove_orphans(folder: Path) -> None:
    """Remove what killed processes were writing."""
    for temporary in [*folder.glob(".*.tmp"), *folder.glob(".*.damaged")]:
        writer = temporary.name.split(".")[2]
        if not (writer.isdecimal() and is_running(int(writer))):
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_superseded(path: Path) -> None:
    """Remove entries of the same place, whose files have since changed."""
    for other in path.parent.glob(f"{path.name[: _DIGITS[0]]}-*"):
        if other != path:
            shutil.rmtree(other, ignore_errors=True)
