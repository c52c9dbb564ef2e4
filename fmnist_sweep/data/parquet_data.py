"""Pictures in a column of Parquet files, as Hugging Face's data sets have them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import ParquetData
from fmnist_sweep.data.arrays import distinct
from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.data.packed import regular_file
from fmnist_sweep.data.parquet_columns import Columns, columns_of, reading
from fmnist_sweep.data.picture import shown_path
from fmnist_sweep.data.pictures import (
    AT_A_TIME,
    Item,
    PictureSet,
    Piece,
    Reading,
    load_pictures,
)
from fmnist_sweep.data.progress import report
from fmnist_sweep.errors import DataError

SETS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "official": ("test", "testing"),
}
"""How names of files, or of folders above them, begin, by what the files hold."""
_BYTES = 1 << 22
_SHOWN = 10


def load_parquet(config: ParquetData) -> Dataset:
    """Read the pictures of a Parquet file, or of a folder of such files.

    In a folder, `train-….parquet` or `train/….parquet` are training images, those of `validation`
    validate, those of `test` are the official test set. Pictures are bytes, or structs with a
    field `bytes`; labels are whole numbers from 0 or words. Classes are `config.class_names`, else
    those that Hugging Face's metadata name, else the labels.

    Returns a dataset whose images, uint8 (n, height, width, channels), are mapped from the cache
    below `mlruns/`.

    Raises:
        DataError: a file or a column is missing or malformed, a label is invalid, or a picture is
            damaged and `config.skip_damaged` is not set.
    """
    root, parts = _parts(config.file)
    columns = columns_of(parts["train"][0], config)
    before = _stamps(parts)
    content = _digest(parts)
    words = {part: [_labels(path, columns) for path in files] for part, files in parts.items()}
    names = _class_names(config, columns, np.concatenate(words["train"]))
    sets = []
    for part, files in parts.items():
        labels = [
            _numbers(path, columns, some, names)
            for path, some in zip(files, words[part], strict=True)
        ]
        pieces = partial(_pieces, files, columns, labels, before)
        sets.append(PictureSet(part, sum(map(len, labels)), pieces))
    return load_pictures(
        root.stem,
        shown_path(root),
        f"parquet {shown_path(root.resolve())} {columns.image} {columns.label}",
        content,
        sets,
        Reading(
            (config.image_size[0], config.image_size[1], config.channels),
            config.fit,
            config.skip_damaged,
            names,
            (f"images in column '{columns.image}'", f"labels in column '{columns.label}'"),
        ),
    )


def _parts(given: str) -> tuple[Path, dict[str, list[Path]]]:
    """Return the file or folder, and the files by what they hold."""
    try:
        root = Path(given).expanduser()
        is_folder = root.is_dir()
    except (OSError, RuntimeError):
        is_folder = False
    if not is_folder:
        root = regular_file(given, "data.file", "Parquet file")
        return root, {"train": [root]}
    files = sorted(root.rglob("*.parquet"))
    if not files:
        raise DataError(f"data.file: {shown_path(root)} has no .parquet files")
    parts: dict[str, list[Path]] = {}
    others = []
    for path in files:
        part = _part_of(path)
        if part is None:
            others.append(path)
        else:
            parts.setdefault(part, []).append(path)
    if not parts:
        return root, {"train": files}
    if others or "train" not in parts:
        what = f"{shown_path(others[0])}, of no set" if others else "no training images"
        raise DataError(
            f"data.file: {shown_path(root)} has {what}; allowed: names that begin with train, "
            "validation or test"
        )
    return root, {part: parts[part] for part in SETS if part in parts}


def _part_of(path: Path) -> str | None:
    for name in (path.stem, path.parent.name):
        word = re.split(r"[^a-z]", name.lower())[0]
        for part, names in SETS.items():
            if word in names:
                return part
    return None


def _stamps(parts: dict[str, list[Path]]) -> dict[Path, tuple[int, int]]:
    return {path: _stamp(path) for files in parts.values() for path in files}


def _stamp(path: Path) -> tuple[int, int]:
    with reading(path):
        seen = path.stat()
    return seen.st_size, seen.st_mtime_ns


def _digest(parts: dict[str, list[Path]]) -> str:
    digest = hashlib.sha256()
    sizes = {path: size for path, (size, _) in _stamps(parts).items()}
    done, total = 0, sum(sizes.values())
    for part, files in parts.items():
        for path in files:
            digest.update(f"{part}{sizes[path]};".encode())
            with reading(path), path.open("rb") as file:
                while some := file.read(_BYTES):
                    digest.update(some)
                    done += len(some)
                    report("bytes compared with the cache", done, total)
    return digest.hexdigest()


def _labels(path: Path, columns: Columns) -> NDArray[Any]:
    """Return a file's labels, int64 or text, (n,)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path):
        found = pq.read_schema(path).names
        for name in (columns.image, columns.label):
            if name not in found:
                raise DataError(f"data.file: {shown_path(path)} has no column {name}")
        column = pq.read_table(path, columns=[columns.label]).column(0)
    if column.null_count:
        row = column.is_null().index(True).as_py() + 1
        raise DataError(f"{shown_path(path)}: row {row} has no {columns.label}")
    if pa.types.is_integer(column.type):
        numbers: NDArray[np.int64] = column.to_numpy().astype(np.int64)
        return numbers
    return np.array(column.to_pylist(), dtype=str)


def _class_names(config: ParquetData, columns: Columns, labels: NDArray[Any]) -> tuple[str, ...]:
    if config.class_names is not None:
        return distinct(config.class_names)
    if labels.dtype.kind == "U":
        return tuple(str(word) for word in np.unique(labels))
    if columns.class_names is not None:
        return columns.class_names
    present = np.unique(labels)
    if not np.array_equal(present, np.arange(len(present))):
        stray = present[present != np.arange(len(present))][0]
        raise DataError(
            f"data.file: column {columns.label} contains {stray}, but not every label from 0 up to "
            "it; allowed: 0..classes-1 without gaps, or list all classes in data.class_names"
        )
    return tuple(str(label) for label in present)


def _numbers(
    path: Path, columns: Columns, labels: NDArray[Any], names: Sequence[str]
) -> NDArray[np.int64]:
    if labels.dtype.kind == "U":
        numbers = {name: number for number, name in enumerate(names)}
        wrong = np.array([str(label) not in numbers for label in labels], bool)
        allowed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    else:
        wrong = (labels < 0) | (labels >= len(names))
        allowed = f"0..{len(names) - 1}"
    if wrong.any():
        row = int(np.argmax(wrong))
        hint = "; -1 stands for no label" if str(labels[row]) == "-1" else ""
        raise DataError(
            f"{shown_path(path)}: row {row + 1}, column {columns.label} is "
            f"{str(labels[row])[:60]}; allowed: {allowed}{hint}"
        )
    if labels.dtype.kind == "U":
        return np.array([numbers[str(label)] for label in labels], np.int64)
    return labels


def _pieces(
    files: Sequence[Path],
    columns: Columns,
    labels: Sequence[NDArray[np.int64]],
    before: dict[Path, tuple[int, int]],
) -> Iterable[Piece]:
    import pyarrow.parquet as pq

    for path, some in zip(files, labels, strict=True):
        start = 0
        with reading(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_A_TIME, columns=[columns.image]):
                part = some[start : start + batch.num_rows]
                yield partial(_items, path.name, start, batch.column(0), columns.is_struct, part)
                start += batch.num_rows
        if _stamp(path) != before[path]:
            raise DataError(
                f"{shown_path(path)} changed while it was read; try again when nothing writes there"
            )


def _items(
    name: str, start: int, column: Any, is_struct: bool, labels: NDArray[np.int64]
) -> list[Item]:
    import pyarrow.compute as pc

    contents = pc.struct_field(column, "bytes") if is_struct else column
    return [
        (f"{name} row {row}", label, content or b"")
        for row, (label, content) in enumerate(
            zip(labels.tolist(), contents.to_pylist(), strict=True), start=start + 1
        )
    ]
