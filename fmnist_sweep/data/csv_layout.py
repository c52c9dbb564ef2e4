"""Which column of a CSV file holds what: understood from its first lines.

Known are `label,pixel1..pixelN` (Kaggle's), pixels numbered from 0 or with leading zeros,
`1x1..28x28` (row and column), other names in the pixels' order, a header of numbers, and none.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist_sweep.errors import DataError

LABELS = ("label", "labels", "class", "target", "y")
"""Names that a column of labels has, in lower case; the first one found is taken."""
_NO_LABELS = ("", "id", "index", "unnamed: 0")
_PIXEL = re.compile(r"(?:pixel|pix|px)[ _-]?(\d{1,9})")
_ROW_AND_COLUMN = re.compile(r"(?:pixel|pix|px)?[ _-]?(\d{1,9})x(\d{1,9})")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_COUNTING, _REPEATING = 50, 5  # fields of a header of numbers; fewer may be a row of pixels
_SHOWN = 10


@dataclass(frozen=True)
class Layout:
    """Where labels and pixels are: positions of columns, from 0; `names` are theirs, for messages.
    `remarks` say what is unusual."""

    separator: str
    decimal: str
    has_header: bool
    names: tuple[str, ...]
    label: int
    pixels: tuple[int, ...]
    remarks: tuple[str, ...]


def layout_of(
    path: Path, lines: Sequence[str], shape: tuple[int, int, int], label: str | int | None
) -> Layout:
    """Return the layout of a file, given its first lines.

    `shape` is that of an image, (height, width, channels); `label` names the column of labels, or,
    without a header, is its position from 0; None: it is guessed.

    Raises DataError, naming the file and what is missing, if columns do not fit `shape`, or there
    is no column of labels, or it cannot be guessed.
    """
    separator, names = fields_of(lines[0])
    second = lines[1] if len(lines) > 1 else lines[0]
    decimal = "," if separator == ";" and re.search(r"\d,\d", second) else "."
    remarks = [] if separator == "," else [f"separated by {_shown(separator)}"]
    if are_numbers(names):
        has_header = _counts(names)
        remarks.append("a header of numbers" if has_header else "no header")
        if not has_header:
            names = [str(position) for position in range(len(names))]
        found = _by_position(path, names, shape, label)
    else:
        has_header = True
        found = _by_name(path, names, shape, label)
    return Layout(separator, decimal, has_header, tuple(names), *found, tuple(remarks))


def fields_of(line: str) -> tuple[str, list[str]]:
    """Return a line's separator, and its fields without blanks around them."""
    separator = _separator(line)
    fields = next(csv.reader([line], delimiter=separator))
    return separator, [field.strip() for field in fields]


def are_numbers(fields: Sequence[str]) -> bool:
    """Whether each field is a number."""
    return all(_NUMBER.fullmatch(field.replace(",", ".")) for field in fields)


def _separator(line: str) -> str:
    semicolons, commas, tabs = (line.count(mark) for mark in (";", ",", "\t"))
    # Beside semicolons, a comma may be a decimal point.
    if semicolons and semicolons >= max(commas - 1, tabs):
        return ";"
    return "\t" if tabs > commas else ","


def _shown(separator: str) -> str:
    return "tabs" if separator == "\t" else separator


def _counts(names: Sequence[str]) -> bool:
    """Whether numbers are a header: 0, 1, 2, … or what pandas makes of equal names: 0, 0.1, 0.2."""
    for first in (0, 1):
        if list(names) == [str(number) for number in range(first, first + len(names))]:
            return len(names) >= _COUNTING
    if len(names) < _REPEATING:
        return False
    seen: dict[str, int] = {}
    for name in names:
        base, _, number = name.partition(".")
        if number != (str(seen[base]) if base in seen else ""):
            return False
        seen[base] = seen.get(base, 0) + 1
    return max(seen.values()) > 1


def _by_position(
    path: Path, names: Sequence[str], shape: tuple[int, int, int], label: str | int | None
) -> tuple[int, tuple[int, ...]]:
    count = math.prod(shape)
    if len(names) == count:
        raise DataError(
            f"{path} has {count} columns, as many as data.image_size {_size(shape)} has pixels, so "
            "none of labels; without labels nothing can be trained or measured on it"
        )
    if len(names) != count + 1:
        raise DataError(
            f"{path} has {len(names)} columns, but data.image_size {_size(shape)} needs "
            f"{count + 1}, a label and {count} pixels{_would_fit(len(names) - 1)}"
        )
    at = 0 if label is None else _position(path, names, label)
    return at, tuple(position for position in range(len(names)) if position != at)


def _by_name(
    path: Path, names: Sequence[str], shape: tuple[int, int, int], label: str | int | None
) -> tuple[int, tuple[int, ...]]:
    plain = [name.lower() for name in names]
    pixels, shown = _numbered(plain)
    others = [at for at in range(len(names)) if at not in {*pixels.values()}]
    if label is not None:
        at = _position(path, names, label)
    else:
        at = _guessed(path, names, others, bool(pixels), len(pixels))
    pixels = {number: position for number, position in pixels.items() if position != at}
    if not pixels:
        rest = tuple(other for other in range(len(names)) if other != at)
        if len(rest) == math.prod(shape):
            return at, rest
    return at, _in_order(path, pixels, shown, shape)


def _numbered(plain: Sequence[str]) -> tuple[dict[tuple[int, ...], int], str]:
    """Return the positions of pixel columns by their numbers, and how such a column is called."""
    singles: dict[tuple[int, ...], int] = {
        (int(m[1]),): at for at, name in enumerate(plain) if (m := _PIXEL.fullmatch(name))
    }
    pairs: dict[tuple[int, ...], int] = {
        (int(m[1]), int(m[2])): at
        for at, name in enumerate(plain)
        if (m := _ROW_AND_COLUMN.fullmatch(name))
    }
    return (pairs, "{}x{}") if len(pairs) > len(singles) else (singles, "pixel{}")


def _guessed(
    path: Path, names: Sequence[str], others: Sequence[int], has_pixels: bool, pixels: int
) -> int:
    by_name = {names[at].lower(): at for at in reversed(others)}
    for name in LABELS:
        if name in by_name:
            return by_name[name]
    candidates = [at for at in others if names[at].lower() not in _NO_LABELS]
    if has_pixels and len(candidates) == 1:
        return candidates[0]
    if has_pixels and not candidates:
        raise DataError(
            f"{path} has no column {LABELS[0]}: {pixels} pixel columns and no others; without "
            "labels nothing can be trained or measured on it"
        )
    raise DataError(
        f"{path} has no column {LABELS[0]}; data.label=NAME says which it is: "
        f"{_listed([names[at] for at in candidates])}"
    )


def _position(path: Path, names: Sequence[str], label: str | int) -> int:
    plain, wanted = [name.lower() for name in names], str(label).strip().lower()
    if wanted in plain:
        return plain.index(wanted)
    others = [name for name in names if not _PIXEL.fullmatch(name.lower())]
    raise DataError(f"data.label={label}: {path} has no such column; it has {_listed(others)}")


def _in_order(
    path: Path, pixels: dict[tuple[int, ...], int], shown: str, shape: tuple[int, int, int]
) -> tuple[int, ...]:
    count = math.prod(shape)
    first = 0 if any(0 in number for number in pixels) else 1
    wanted: list[tuple[int, ...]]
    if shown == "pixel{}":
        wanted = [(number,) for number in range(first, first + count)]
    else:
        rows, columns = range(first, first + shape[0]), range(first, first + shape[1])
        wanted = [(row, column) for row in rows for column in columns]
    missing = next((number for number in wanted if number not in pixels), None)
    needs = f"data.image_size {_size(shape)} needs"
    if missing is not None:
        raise DataError(
            f"{path} has no column {shown.format(*missing)}; {needs} {LABELS[0]} and "
            f"{shown.format(*wanted[0])}..{shown.format(*wanted[-1])}, the file has {len(pixels)} "
            f"pixel columns{_would_fit(len(pixels))}"
        )
    if len(pixels) != count:
        raise DataError(
            f"{path} has {len(pixels)} pixel columns, but {needs} {count}{_would_fit(len(pixels))}"
        )
    return tuple(pixels[number] for number in wanted)


def _would_fit(pixels: int) -> str:
    for channels, last in ((1, ""), (3, ", 3")):
        side = math.isqrt(max(pixels, 0) // channels)
        if side > 1 and side * side * channels == pixels:
            return f"; data.image_size=[{side}, {side}{last}] would fit"
    return ""


def _size(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] or "one without a name" for name in names[:_SHOWN])
    return (shown or "none") + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
