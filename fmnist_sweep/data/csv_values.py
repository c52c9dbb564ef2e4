"""The labels and pixels of a CSV file, checked a part at a time as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.arrays import BRIGHTEST
from fmnist_sweep.data.csv_layout import Layout
from fmnist_sweep.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_FROM_0, _PIXEL = "an integer from 0", f"an integer in 0..{BRIGHTEST}"
_OF_1 = "a number in 0..1"


class Labels:
    """Collects labels: whole numbers from 0, or words."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._name = path, layout.names[layout.label]
        self._numbers: list[NDArray[np.int64]] = []
        self._words: list[NDArray[Any]] = []
        self._first_word: tuple[int, str] | None = None

    def add(self, column: pd.Series[Any], row: int) -> None:
        """Add the labels of the rows from `row` on.

        Raises DataError, naming row and column, for a label that is blank, below 0 or no whole
        number, or for words among numbers.
        """
        import pandas as pd

        if column.dtype.kind in "iuf":
            self._numbers.append(_whole(column, self._path, self._name, row, _FROM_0))
        else:
            _refuse_blank(column, self._path, self._name, row, _FROM_0 + " or a word")
            texts = column.astype(str).str.strip()
            is_word = pd.to_numeric(texts, errors="coerce").isna().to_numpy()
            if is_word.all():
                self._words.append(texts.to_numpy(dtype=str))
            else:
                self._numbers.append(_whole(column, self._path, self._name, row, _FROM_0))
            at = int(np.argmax(is_word))
            self._first_word = self._first_word or (row + at, str(texts.iloc[at]))
        if self._words and self._numbers:
            assert self._first_word is not None
            where, word = self._first_word
            raise _refusal(self._path, where, self._name, repr(word)[:60], _FROM_0)

    def whole(self) -> NDArray[Any]:
        """Return all labels, int64 or text, (n,)."""
        return np.concatenate(self._words or self._numbers)


class Pixels:
    """Collects pixels: whole numbers in 0..255 or, where none is above 1, numbers in 0..1.

    `largest`: 255 or 1 where that is known, None where it is to be found out.
    """

    def __init__(self, path: Path, layout: Layout, largest: int | None) -> None:
        self._path, self._layout, self._largest = path, layout, largest
        self._parts: list[NDArray[Any]] = []
        self._brightest = 0.0
        self._fraction: tuple[int, str, float] | None = None

    @property
    def is_scaled(self) -> bool:
        """Whether the pixels are in 0..1, and multiplied by 255."""
        return self._largest == 1 or (
            self._largest is None and (self._fraction is not None or 0.0 < self._brightest <= 1.0)
        )

    def add(self, frame: pd.DataFrame, row: int) -> None:
        """Add the pixels of the rows from `row` on.

        Raises DataError, naming row and column, for a pixel that is invalid.
        """
        allowed = _OF_1 if self._largest == 1 else _PIXEL
        if self._largest is None:
            allowed += ", or in 0..1 all of them"
        values = self._numbers(frame, row, allowed)
        largest = BRIGHTEST if self._largest is None else self._largest
        outside = ~((values >= 0) & (values <= largest))
        fractions = values != np.rint(values) if values.dtype.kind == "f" else None
        if fractions is not None and fractions.any():
            if self._largest == BRIGHTEST:
                outside |= fractions
            self._fraction = self._fraction or self._at(values, fractions, row)
        if outside.any():
            self._refuse(self._at(values, outside, row), allowed)
        self._brightest = max(self._brightest, float(values.max()))
        if self._fraction is not None and self._largest is None and self._brightest > 1.0:
            self._refuse(self._fraction, allowed)
        is_whole = fractions is None or not fractions.any()
        self._parts.append(values.astype(np.uint8 if is_whole else np.float32))

    def whole(self) -> NDArray[np.uint8]:
        """Return all pixels, uint8 (n, pixels)."""
        if self.is_scaled:
            parts = [np.rint(part.astype(np.float32) * BRIGHTEST) for part in self._parts]
            return np.concatenate([part.astype(np.uint8) for part in parts])
        return np.concatenate(self._parts)

    def _numbers(self, frame: pd.DataFrame, row: int, allowed: str) -> NDArray[Any]:
        if all(dtype.kind in "iuf" for dtype in frame.dtypes):
            values = frame.to_numpy()
            if values.dtype.kind != "f" or not np.isnan(values).any():
                return values
        columns = []
        for position, (_, column) in zip(self._layout.pixels, frame.items(), strict=True):
            name = self._layout.names[position]
            columns.append(
                _any_number(column, self._path, name, row, self._largest or BRIGHTEST, allowed)
            )
        return np.column_stack(columns)

    def _at(self, values: NDArray[Any], wrong: NDArray[Any], row: int) -> tuple[int, str, float]:
        at, column = (int(index) for index in np.argwhere(wrong)[0])
        name = self._layout.names[self._layout.pixels[column]]
        return row + at, name, values[at, column].item()

    def _refuse(self, where: tuple[int, str, float], allowed: str) -> None:
        row, name, value = where
        shown = int(value) if float(value).is_integer() else value
        raise _refusal(self._path, row, name, str(shown), allowed)


def _whole(
    column: pd.Series[Any], path: Path, name: str, row: int, allowed: str
) -> NDArray[np.int64]:
    if column.dtype.kind == "i" and column.min() >= 0:
        return column.to_numpy().astype(np.int64)
    integers = []
    for number, value in enumerate(column.tolist(), start=row):
        integer = _integer(value)
        if integer is None or not 0 <= integer <= np.iinfo(np.int64).max:
            raise _refusal(path, number, name, _shown(value), allowed)
        integers.append(integer)
    return np.array(integers, np.int64)


def _any_number(
    column: pd.Series[Any], path: Path, name: str, row: int, largest: int, allowed: str
) -> NDArray[np.float64]:
    """Convert value by value: slow, but able to name the invalid value."""
    numbers = []
    for at, value in enumerate(column.tolist(), start=row):
        try:
            number = float("nan") if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if not 0 <= number <= largest:
            raise _refusal(path, at, name, _shown(value), allowed)
        numbers.append(number)
    return np.array(numbers, np.float64)


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int):
            return value
        as_float = float(value)  # type: ignore[arg-type]
        return int(as_float) if as_float.is_integer() else None
    except (TypeError, ValueError, OverflowError):
        return None


def _refuse_blank(column: pd.Series[Any], path: Path, name: str, row: int, allowed: str) -> None:
    blank = column.isna().to_numpy()
    if blank.any():
        raise _refusal(path, row + int(np.argmax(blank)), name, "blank", allowed)


def _shown(value: object) -> str:
    return "blank" if value != value or value is None else repr(value)[:60]


def _refusal(path: Path, row: int, name: str, shown: str, allowed: str) -> DataError:
    return DataError(f"{path}: row {row}, column {name} is {shown}; allowed: {allowed}")
