"""Data files: found, identified and decompressed by content, whatever their extensions."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from fmnist_sweep.errors import DataError

_LOOKED_AT = 1024
_DEPTH = 3  # a .tar.gz has two layers
_BEGINNINGS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # an empty archive
    b"\x28\xb5\x2f\xfd": "Zstandard data",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x93NUMPY": "a single NumPy array (.npy)",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}
ZIP = "a zip archive"
_ARCHIVES = {
    "gzip": "gzip data",
    "bzip2": "bzip2 data",
    "xz": "xz data",
    "zip": ZIP,
    "tar": "a tar archive",
}
PACKED = "plain or packed as gzip, bzip2, xz, zip or tar with one file in it"
"""What `unpacked` accepts, for messages."""


def regular_file(given: str, key: str, wanted: str) -> Path:
    """Return the file that a config's `key` names; `wanted` is the expected kind, e.g. `CSV`.

    Raises:
        DataError: it does not exist or is not a regular file (a pipe could be read only once).
    """
    try:
        path = Path(given).expanduser()
        if path.is_file():
            return path
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long; ~ of an unknown user
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{key}: {given[:200]} cannot be opened: {reason}") from error
    if not exists:
        raise DataError(f"{key}: {path} does not exist; allowed: a file")
    kind = "a folder" if is_folder else "neither a file nor a folder"
    raise DataError(f"{key}: {path} is not a readable {wanted}: it is {kind}; allowed: a file")


def kind_of(path: Path) -> str:
    """Describe a file's content by its first bytes."""
    try:
        with path.open("rb") as file:
            kind = _kind(file.read(_LOOKED_AT))
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    return _ARCHIVES.get(kind, kind)


@contextmanager
def unpacked(path: Path, is_wrong: Callable[[str], DataError]) -> Iterator[BinaryIO]:
    """Open a text file for reading, decompressed if necessary.

    `is_wrong` creates the error from a reason. All errors inside the block except DataError are
    converted by it, because damage shows only while an archive is read.
    """
    with ExitStack() as opened:
        try:
            stream = cast(BinaryIO, opened.enter_context(path.open("rb")))
            for _ in range(_DEPTH):
                kind = _looked_at(stream)
                if kind not in _ARCHIVES:
                    break
                stream = _opened(kind, stream, opened)
            if kind != "text":
                raise is_wrong(f"found {_ARCHIVES.get(kind, kind)}")
            yield stream
        except DataError:
            raise
        except Exception as error:  # a damaged archive makes its library raise all kinds
            raise is_wrong(f"found {kind_of(path)}; {words_of(error)}") from error


def words_of(error: Exception) -> str:
    """Return a library's error about an unreadable archive, on one line."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason.replace("File is not a zip file", "its end is missing")[:200]


def _opened(kind: str, stream: BinaryIO, opened: ExitStack) -> BinaryIO:
    if kind == "zip":
        archive = opened.enter_context(zipfile.ZipFile(stream))
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        return cast(BinaryIO, opened.enter_context(archive.open(_only(names))))
    if kind == "tar":
        tar = opened.enter_context(tarfile.TarFile(fileobj=stream))
        member = tar.extractfile(_only([entry.name for entry in tar if entry.isfile()]))
        return cast(BinaryIO, opened.enter_context(member))  # type: ignore[arg-type]  # a file's
    library = {"gzip": gzip, "bzip2": bz2, "xz": lzma}[kind]
    return cast(BinaryIO, opened.enter_context(library.open(stream, "rb")))


def _only(names: list[str]) -> str:
    if len(names) != 1:
        shown = ", ".join(name[:40] for name in names[:3]) + (", …" if len(names) > 3 else "")
        raise ValueError(f"{len(names)} files in it" + (f": {shown}" if names else ""))
    return names[0]


def _looked_at(stream: BinaryIO) -> str:
    kind = _kind(stream.read(_LOOKED_AT))
    stream.seek(0)
    return kind


def _kind(beginning: bytes) -> str:
    """Return a key of `_ARCHIVES` or a description; `text` if nothing is recognised."""
    if not beginning:
        return "an empty file"
    for start, kind in _BEGINNINGS.items():
        if beginning.startswith(start):
            return kind
    if beginning[257:262] == b"ustar":
        return "tar"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<body")):
        return "a web page"
    return "text"
