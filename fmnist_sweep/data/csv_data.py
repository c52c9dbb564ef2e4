"""Images in a CSV file: a row per image, a label and a column for each pixel."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import CsvData
from fmnist_sweep.data.arrays import BRIGHTEST, LabelledImages, make_dataset
from fmnist_sweep.data.csv_layout import Layout, are_numbers, fields_of, layout_of
from fmnist_sweep.data.csv_values import Labels, Pixels
from fmnist_sweep.data.dataset import FASHION_MNIST_CLASSES, Dataset, in_words
from fmnist_sweep.data.fashion_mnist_content import is_fashion_mnist
from fmnist_sweep.data.packed import PACKED, regular_file, unpacked
from fmnist_sweep.data.progress import report
from fmnist_sweep.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_A_TIME = 4096
_LONGEST_HEADER, _MOST_REPEATED = 1 << 22, 1000  # bytes, column names
Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Table:
    """A file as it was read: `labels` are whole numbers or words; `pixel_max`: 1 or 255."""

    layout: Layout
    images: NDArray[np.uint8]
    labels: NDArray[Any]
    pixel_max: int
    path: Path


def load_csv(config: CsvData) -> Dataset:
    """Read the training file and, if given, the validation file, which becomes the official test
    set.

    `csv_layout` says which columns are understood; others are ignored. Pixels are whole numbers in
    0..255, or numbers in 0..1, which are scaled. Labels are whole numbers from 0 or from 1, or
    words. Classes are `config.class_names`, else Fashion-MNIST's if the images are Fashion-MNIST's,
    else the labels.

    Raises DataError, naming file, row (from 1, without the header) and column, for a missing file
    or column, an invalid label or pixel, or columns that do not fit `config.image_size`.
    """
    height, width, channels = (*config.image_size, 1)[:3]
    shape = (height, width, channels)
    train = _read(config, config.train_file, "data.train_file", shape, config.pixel_max)
    tables = [train]
    if config.val_file is not None:
        tables.append(_read(config, config.val_file, "data.val_file", shape, train.pixel_max))
    names, first = _classes(config.class_names, train)
    sets = [_labelled(table, names, first) for table in tables]
    if names is None and all(part.labels.dtype.kind == "i" for part in sets):
        known = all(is_fashion_mnist(part.images, part.labels) for part in sets)
        names = FASHION_MNIST_CLASSES if known else None
    dataset = make_dataset(
        name=Path(config.train_file).stem,
        source=config.train_file,
        train=sets[0],
        official=sets[1] if len(sets) > 1 else None,
        class_names=names,
        close_gaps=config.close_gaps,
    )
    return dataset.with_understood(_understood(config, tables, dataset))


def _classes(given: Sequence[str] | None, train: _Table) -> tuple[Sequence[str] | None, int]:
    """Return the names of the classes, None where labels count from 0, and the first label."""
    labels = train.labels
    if labels.dtype.kind == "U":
        return given, 0
    largest = int(labels.max())
    if labels.min() >= 1:
        if given is not None:
            return given, int(largest == len(given))
        if len(np.unique(labels)) == largest:
            return [str(label) for label in range(1, largest + 1)], 1
    return given, 0


def _labelled(table: _Table, names: Sequence[str] | None, first: int) -> LabelledImages:
    name = f"{table.path}: {table.layout.names[table.layout.label]}"
    labels = table.labels
    if first and labels.dtype.kind == "i":
        if labels.min() < first:
            row = int(np.argmin(labels))
            allowed = f"1..{len(names or ())}"
            raise DataError(f"{name}[{row}] is {labels[row]}; allowed for labels: {allowed}")
        labels = labels - first
    return LabelledImages(table.images, labels, f"{table.path}: images", name)


def _understood(config: CsvData, tables: Sequence[_Table], dataset: Dataset) -> str:
    layout = tables[0].layout
    label = f"column '{layout.names[layout.label]}'"
    if not layout.has_header:
        label = "the first column" if layout.label == 0 else f"column {layout.label} (from 0)"
    words = [
        f"{config.train_file}: {len(dataset.labels):,} images {in_words(dataset.image_shape)}",
        f"labels in {label}",
        f"{dataset.classes} classes",
        *layout.remarks,
    ]
    if config.transposed:
        words.append("transposed")
    if tables[0].pixel_max == 1:
        words.append("pixels of 0..1 scaled to 0..255")
    if len(tables) > 1:
        words.append(f"{len(tables[1].labels):,} official test images in {config.val_file}")
    return ", ".join(words)


def _read(config: CsvData, given: str, key: str, shape: Shape, pixel_max: int | None) -> _Table:
    path = regular_file(given, key, "CSV")
    with _opened(path, key) as (stream, is_wrong):
        lines = _first_lines(stream, is_wrong)
        layout = layout_of(path, lines, shape, config.label)
        pixels, labels = Pixels(path, layout, pixel_max), Labels(path, layout)
        row = 1
        for frame in _frames(path, stream, layout):
            if frame.empty:
                continue
            labels.add(frame.iloc[:, layout.label], row)
            pixels.add(frame.iloc[:, list(layout.pixels)], row)
            row += len(frame)
            report("rows read", row - 1, row - 1)
    if row == 1:
        raise DataError(f"{path} has no images: a header, but no rows")
    images = pixels.whole()
    if config.transposed:
        height, width, channels = shape
        images = images.reshape(-1, width, height, channels).transpose(0, 2, 1, 3)
    return _Table(
        layout,
        images.reshape(-1, *shape),
        labels.whole(),
        1 if pixels.is_scaled else BRIGHTEST,
        path,
    )


@contextmanager
def _opened(path: Path, key: str) -> Iterator[tuple[BinaryIO, Any]]:
    def is_wrong(reason: str) -> DataError:
        return DataError(
            f"{key}: {path} is not a readable CSV: {reason}; allowed: CSV in UTF-8, {PACKED}"
        )

    with unpacked(path, is_wrong) as stream:
        yield stream, is_wrong


def _first_lines(stream: BinaryIO, is_wrong: Any) -> list[str]:
    """Return the first lines that are not blank, two at most."""
    # pandas would take minutes to parse a header of that length.
    beginning = stream.read(_LONGEST_HEADER)
    stream.seek(0)
    lines = [line for line in beginning.splitlines()[:100] if line.strip()]
    if not lines:
        raise is_wrong("found blank lines alone")
    if len(lines[0]) == _LONGEST_HEADER:
        raise is_wrong(f"found a first line (the header) of {len(lines[0]):,} bytes or more")
    first = lines[0].decode("utf-8-sig")
    _, names = fields_of(first)
    if len(names) - len({*names}) > _MOST_REPEATED and not are_numbers(names):
        raise is_wrong(f"found a header of {len(names):,} columns, many with the same name")
    return [first, *(line.decode("utf-8", "replace") for line in lines[1:2])]


def _frames(path: Path, stream: BinaryIO, layout: Layout) -> Iterator[pd.DataFrame]:
    import pandas as pd

    # Without index_col=False pandas treats a surplus field as an index and shifts the rest;
    # without low_memory=False it guesses a column's type separately for every few rows.
    with pd.read_csv(
        stream,
        chunksize=ROWS_AT_A_TIME,
        index_col=False,
        low_memory=False,
        header=0 if layout.has_header else None,
        sep=layout.separator,
        decimal=layout.decimal,
        skipinitialspace=True,
        encoding="utf-8-sig",
    ) as frames:
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                try:
                    frame = next(frames, None)
                except pd.errors.ParserWarning as error:
                    raise DataError(f"{path}: rows have more fields than the header") from error
            if frame is None:
                return
            yield frame
