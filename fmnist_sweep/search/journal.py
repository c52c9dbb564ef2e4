"""The journal: append-only JSON lines, each on disk before its effect counts."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fmnist_sweep.environment import stop_if_asked
from fmnist_sweep.errors import JournalError
from fmnist_sweep.search.records import Record, from_json, to_json

JOURNAL_FILE = "journal.jsonl"


class Journal:
    """A sweep's records, in their order.

    Opening reads what is there. A last line without its newline was torn by a kill, its effect
    never counted, and it is dropped; anything else unreadable is an error.

    Raises:
        JournalError: a line is unreadable; the message names file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self._whole_bytes = 0
        if path.exists():
            self._read(path.read_bytes())

    def append(self, record: Record) -> None:
        """Write a record and have it on disk when this returns; nothing where the process was asked
        to stop (see `write_whole`)."""
        stop_if_asked()
        line = to_line(record)
        is_new = not self.path.exists()
        if is_new:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("r+b" if not is_new else "xb") as file:
            file.truncate(self._whole_bytes)  # drops a torn last line, or a failed write's half
            file.seek(self._whole_bytes)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _flush_folder(self.path.parent)
        self._whole_bytes += len(line)
        self.records.append(record)

    def _read(self, content: bytes) -> None:
        *lines, _torn = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            self.records.append(_record_of(line, self.path, number))
            self._whole_bytes += len(line) + 1


def first_record(path: Path) -> Record | None:
    """Return a journal's first record, without reading the others; None where it has none.

    Raises:
        JournalError: the line is unreadable.
    """
    with path.open("rb") as file:
        line = file.readline()
    return _record_of(line, path, 1) if line.endswith(b"\n") else None


def _record_of(line: bytes, path: Path, number: int) -> Record:
    try:
        return from_json(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise JournalError(f"{path}, line {number} cannot be read: {error}") from error


def to_line(record: Record) -> bytes:
    """Return a record as a line. Keys keep their order, which is that of a table's columns: a
    sweep that was read again is to show the same ones."""
    text = json.dumps(to_json(record), separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def _flush_folder(folder: Path) -> None:
    # A new file's name is on disk only when its folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
