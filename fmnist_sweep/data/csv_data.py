"""Images in Kaggle's CSV layout: one row per image, the label first, then the pixels row by row."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import CsvData
from fmnist_sweep.data.arrays import BRIGHTEST, LabelledImages, make_dataset
from fmnist_sweep.data.dataset import FASHION_MNIST_CLASSES, Dataset
from fmnist_sweep.data.fashion_mnist_content import is_fashion_mnist
from fmnist_sweep.data.packed import PACKED, regular_file, unpacked
from fmnist_sweep.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

LABEL = "label"
ROWS_AT_A_TIME = 4096
_LONGEST_HEADER, _MOST_REPEATED = 1 << 22, 1000  # bytes, column names


def load_csv(config: CsvData) -> Dataset:
    """Read `label,pixel1..pixelN` from the training file and, if given, the validation file.

    The validation file becomes the official test set. Classes are `config.class_names`, else
    Fashion-MNIST's if the images are Fashion-MNIST's, else "0", "1", …. Other columns are ignored.
    Raises DataError, naming file, row (from 1, without the header) and column, for a missing file
    or column, an invalid label or pixel, or columns that do not fit `config.image_size`.
    """
    height, width, channels = (*config.image_size, 1)[:3]
    shape = (height, width, channels)
    train = _read(config.train_file, "data.train_file", shape)
    official = None if config.val_file is None else _read(config.val_file, "data.val_file", shape)
    return make_dataset(
        name=Path(config.train_file).stem,
        source=config.train_file,
        train=train,
        official=official,
        class_names=_class_names(config.class_names, train, official),
    )


def _class_names(
    given: Sequence[str] | None, train: LabelledImages, official: LabelledImages | None
) -> Sequence[str] | None:
    if given is not None:
        return given
    parts = [part for part in (train, official) if part is not None]
    known = all(is_fashion_mnist(part.images, part.labels) for part in parts)
    return FASHION_MNIST_CLASSES if known else None


def _read(given: str, key: str, shape: tuple[int, int, int]) -> LabelledImages:
    path = regular_file(given, key, "CSV")
    labels, pixels = [], []
    row = 1
    for frame in _frames(path, key, shape):
        columns = _pixel_columns(path, frame, shape)
        labels.append(_integers(frame[[LABEL]], path, row, np.iinfo(np.int64).max)[:, 0])
        pixels.append(_integers(frame[columns], path, row, BRIGHTEST).astype(np.uint8))
        row += len(frame)
    if row == 1:
        raise DataError(f"{path} has no images: a header, but no rows")
    return LabelledImages(
        np.concatenate(pixels).reshape(-1, *shape),
        np.concatenate(labels).astype(np.int64),
        images_name=f"{path}: images",
        labels_name=f"{path}: label",
    )


def _frames(path: Path, key: str, shape: tuple[int, int, int]) -> Iterator[pd.DataFrame]:
    import pandas as pd

    def is_wrong(reason: str) -> DataError:
        return DataError(
            f"{key}: {path} is not a readable CSV: {reason}; allowed: CSV in UTF-8, {PACKED}"
        )

    with unpacked(path, is_wrong) as stream:
        # pandas would take minutes to parse such a header.
        header = stream.read(_LONGEST_HEADER).splitlines()[0]
        if len(header) == _LONGEST_HEADER:
            raise is_wrong(f"found a first line (the header) of {len(header):,} bytes or more")
        names = header.split(b",")
        if len(names) - len({*names}) > _MOST_REPEATED:
            raise is_wrong(f"found a header of {len(names):,} columns, many with the same name")
        stream.seek(0)
        # Without index_col=False pandas treats a surplus field as an index and shifts the rest;
        # without low_memory=False it guesses a column's type separately for every few rows.
        with pd.read_csv(
            stream, chunksize=ROWS_AT_A_TIME, index_col=False, low_memory=False
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


def _pixel_columns(path: Path, frame: pd.DataFrame, shape: tuple[int, int, int]) -> list[str]:
    count = math.prod(shape)
    wanted = [f"pixel{number}" for number in range(1, count + 1)]
    size = "x".join(map(str, shape))
    found = sum(
        column.startswith("pixel") and column[len("pixel") :].isdecimal()
        for column in frame.columns
    )
    missing = next((name for name in (LABEL, *wanted) if name not in frame.columns), None)
    if missing is not None:
        raise DataError(
            f"{path} has no column {missing}; data.image_size {size} needs label and "
            f"pixel1..pixel{count}, the file has {found} pixel columns"
        )
    if found != count:
        raise DataError(
            f"{path} has {found} pixel columns, but data.image_size {size} needs {count}"
        )
    return wanted


def _integers(frame: pd.DataFrame, path: Path, first_row: int, largest: int) -> NDArray[Any]:
    """Return the frame's values as int64 or a narrower integer dtype, each within 0..largest."""
    if all(dtype.kind == "i" for dtype in frame.dtypes):
        values = frame.to_numpy()
        if values.min() >= 0 and values.max() <= largest:
            return values
    return np.column_stack([_column(frame[name], path, first_row, largest) for name in frame])


def _column(series: pd.Series[Any], path: Path, first_row: int, largest: int) -> NDArray[np.int64]:
    """Convert value by value: slow, but able to name the invalid value."""
    integers = []
    for row, value in enumerate(series.tolist(), start=first_row):
        number = _integer(value)
        if number is None or not 0 <= number <= largest:
            bound = "" if largest > BRIGHTEST else f" in 0..{largest}"
            shown = "blank" if value != value else repr(value)[:60]
            raise DataError(
                f"{path}: row {row}, column {series.name} is {shown}; "
                f"allowed: an integer{bound or ' from 0'}"
            )
        integers.append(number)
    return np.array(integers, np.int64)


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        as_float = float(value)  # type: ignore[arg-type]
        return int(as_float) if as_float.is_integer() else None
    except (TypeError, ValueError, OverflowError):
        return None
