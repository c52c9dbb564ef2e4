"""The journal's file: append-only JSON lines, each on disk before its effect counts."""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path

from fmnist_sweep.errors import JournalError
from fmnist_sweep.interrupts import stop_if_asked
from fmnist_sweep.journal.records import Record, from_json, to_json

JOURNAL_FILE = "journal.jsonl"
_SUM = re.compile(rb',"crc32":"([0-9a-f]{8})"}$')


class Journal:
    """A sweep's records, in order.

    Opening reads the file. A last line without a newline was cut off by a kill before it had an
    effect, and is dropped; any other unreadable line is an error. Each line ends with a checksum of
    itself and all lines before it, so that changed, lost or moved lines are detected; lines of
    earlier versions without checksums are accepted.

    Raises:
        JournalError: a line is unreadable; the message names file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self._whole_bytes = 0
        self._sum = 0
        self._has_sums = False
        if path.exists():
            self._read(path.read_bytes())

    def append(self, record: Record) -> None:
        """Write a record, which is on disk when this returns; nothing is written if the process was
        asked to stop (see `write_whole`)."""
        stop_if_asked()
        line, self_and_before = to_line(record, self._sum)
        is_new = not self.path.exists()
        if is_new:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("r+b" if not is_new else "xb") as file:
            file.truncate(self._whole_bytes)  # drops a line cut off by a kill or a failed write
            file.seek(self._whole_bytes)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _flush_folder(self.path.parent)
        self._whole_bytes += len(line)
        self._sum, self._has_sums = self_and_before, True
        self.records.append(record)

    def _read(self, content: bytes) -> None:
        *lines, _torn = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            self._check_sum(line, number)
            self.records.append(_record_of(line, self.path, number))
            self._whole_bytes += len(line) + 1

    def _check_sum(self, line: bytes, number: int) -> None:
        found = _SUM.search(line)
        text = line if found is None else line[: found.start()] + b"}"
        self._sum = zlib.crc32(text, self._sum)
        is_right = not self._has_sums if found is None else int(found[1], 16) == self._sum
        if not is_right:
            raise JournalError(
                f"{self.path}, line {number} cannot be read: its checksum is wrong, so it or "
                "an earlier line was changed or lost"
            )
        self._has_sums = found is not None


def names_of_sweeps(folder: Path) -> list[str]:
    """Return the names of the sweeps with a journal in a folder of sweeps, sorted."""
    return sorted(path.parent.name for path in folder.glob(f"*/{JOURNAL_FILE}"))


def first_record(path: Path) -> Record | None:
    """Return a journal's first record, without reading the others; None if there is none.

    Raises:
        JournalError: the line is unreadable.
    """
    with path.open("rb") as file:
        line = file.readline()
    return _record_of(line, path, 1) if line.endswith(b"\n") else None


def _record_of(line: bytes, path: Path, number: int) -> Record:
    try:
        fields = json.loads(line)
        fields.pop("crc32", None)
        return from_json(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise JournalError(f"{path}, line {number} cannot be read: {reason}") from error


def to_line(record: Record, sum_before: int = 0) -> tuple[bytes, int]:
    """Return a record as a line, and the checksum (CRC-32) of it and all lines before.

    Keys keep their order, which is the order of a table's columns, so that a sweep that is read
    again shows the same columns.
    """
    text = json.dumps(to_json(record), separators=(",", ":"), allow_nan=False)
    check = zlib.crc32(text.encode(), sum_before)
    return f'{text[:-1]},"crc32":"{check:08x}"}}\n'.encode(), check


def _flush_folder(folder: Path) -> None:
    # A new file's name is on disk only after its folder is synced.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
