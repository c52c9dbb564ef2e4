"""Which columns of a Parquet file hold pictures and labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmnist_sweep.config.data_schema import ParquetData
from fmnist_sweep.data.csv_layout import LABELS
from fmnist_sweep.data.packed import kind_of
from fmnist_sweep.data.picture import shown_path
from fmnist_sweep.errors import DataError

IMAGES = ("image", "img", "picture")
"""Names that a column of pictures has; the first one found is taken."""
_SHOWN = 10


@dataclass(frozen=True)
class Columns:
    """Names of the columns, whether pictures are structs, and the classes that the file names."""

    image: str
    label: str
    is_struct: bool
    class_names: tuple[str, ...] | None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of the block about an unreadable file into a DataError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"data.file: {shown_path(path)} is not a readable Parquet file: found {kind_of(path)}; "
            f"{reason}"
        ) from error


def columns_of(path: Path, config: ParquetData) -> Columns:
    """Return the columns of a file: those that `config` names, else those that it is likely to be.

    Raises DataError if there is no such column, or it cannot be told.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path):
        schema = pq.read_schema(path)
    pictures, labels = [], []
    for field in schema:
        if _is_bytes(field.type) or (
            pa.types.is_struct(field.type)
            and any(inner.name == "bytes" and _is_bytes(inner.type) for inner in field.type)
        ):
            pictures.append(field.name)
        elif pa.types.is_integer(field.type) or _is_text(field.type):
            labels.append(field.name)
    image = _chosen(path, "image", config.image, pictures, IMAGES)
    label = _chosen(path, "label", config.label, labels, LABELS)
    return Columns(
        image, label, pa.types.is_struct(schema.field(image).type), _named(schema, label)
    )


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _chosen(
    path: Path, key: str, given: str | None, candidates: Sequence[str], usual: Sequence[str]
) -> str:
    has = f"{', '.join(candidates[:_SHOWN]) or 'none'}"
    what = "pictures (bytes, or a struct with them)" if key == "image" else "labels"
    if given is not None:
        if given in candidates:
            return given
        raise DataError(
            f"data.{key}={given}: {shown_path(path)} has no such column of {what}; it has: {has}"
        )
    named = next((name for name in usual if name in candidates), None)
    if named is not None or len(candidates) == 1:
        return named or candidates[0]
    if not candidates:
        raise DataError(f"data.file: {shown_path(path)} has no column of {what}")
    raise DataError(
        f"data.file: {shown_path(path)}: which column has the {what}? {has}; write data.{key}=NAME"
    )


def _named(schema: Any, label: str) -> tuple[str, ...] | None:
    """Return the classes that Hugging Face's metadata name, None if they name none."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
