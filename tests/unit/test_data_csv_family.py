"""CSV files as they are found: other names, no header, other separators and pixels, words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_sweep.config.data_schema import CsvData
from fmnist_sweep.data import Dataset, load_dataset
from fmnist_sweep.errors import DataError

ROWS, SIDE = 9, 3
PIXELS = np.random.RandomState(0).randint(0, 256, (ROWS, SIDE * SIDE))
LABELS = np.arange(ROWS) % 3


def config(path: Path, **changed: Any) -> CsvData:
    values = {
        "source": "csv", "train_file": str(path), "val_file": None, "image_size": [SIDE, SIDE],
        "class_names": None, "label": None, "transposed": False, "close_gaps": False,
        "pixel_max": None, "limit": None,
    }  # fmt: skip
    return CsvData.model_validate({**values, **changed})


def written(
    folder: Path,
    names: list[str] | None,
    pixels: Any = PIXELS,
    labels: Any = LABELS,
    separator: str = ",",
    label_last: bool = False,
) -> Path:
    lines = [] if names is None else [separator.join(names)]
    for label, row in zip(labels, pixels, strict=True):
        fields = [*map(str, row), str(label)] if label_last else [str(label), *map(str, row)]
        lines.append(separator.join(fields))
    path = folder / "own.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def assert_read(dataset: Dataset) -> None:
    np.testing.assert_array_equal(dataset.images.reshape(ROWS, -1), PIXELS)
    assert dataset.labels.tolist() == LABELS.tolist()


NUMBERS = range(SIDE * SIDE)
PAIRS = [(row, column) for row in range(1, SIDE + 1) for column in range(1, SIDE + 1)]


@pytest.mark.parametrize(
    ("names", "label_last", "said"),
    [
        (["label", *(f"pixel{i}" for i in NUMBERS)], False, "column 'label', 3 classes"),
        (["label", *(f"{row}x{column}" for row, column in PAIRS)], False, "column 'label'"),
        ([*(f"pixel{i:04}" for i in NUMBERS), "label"], True, "column 'label', 3 classes"),
        ([" Label ", *(f" Pixel{i + 1} " for i in NUMBERS)], False, "column 'Label', 3 classes"),
        (['"LABEL"', *(f'"PIXEL {i}"' for i in NUMBERS)], False, "column 'LABEL', 3 classes"),
        (["Digit", *(f"pixel{i}" for i in NUMBERS)], False, "column 'Digit', 3 classes"),
        (["class", *(f"v_{i}" for i in NUMBERS)], False, "column 'class', 3 classes"),
        (None, False, "the first column, 3 classes, no header"),
        (["0", *(f"0.{i + 1}" for i in NUMBERS)], False, "column '0', 3 classes, a header of num"),
    ],
)
def test_names_of_columns(
    tmp_path: Path, names: list[str] | None, label_last: bool, said: str
) -> None:
    path = written(tmp_path, names, label_last=label_last)
    dataset = load_dataset(config(path))
    assert_read(dataset)
    assert dataset.understood.startswith(f"{path}: 9 images 3×3×1, labels in {said}")  # noqa: RUF001


def test_a_header_that_counts_and_a_small_picture_that_does(tmp_path: Path) -> None:
    pixels = np.tile(PIXELS, 8)[:, :64]
    path = written(tmp_path, [str(i) for i in range(65)], pixels)
    dataset = load_dataset(config(path, image_size=[8, 8]))
    np.testing.assert_array_equal(dataset.images.reshape(ROWS, -1), pixels)
    assert "labels in column '0', 3 classes, a header of numbers" in dataset.understood
    path = written(tmp_path, None, [[1, 2, 3, 4]] * ROWS)
    dataset = load_dataset(config(path, image_size=[2, 2]))
    assert dataset.images[0].ravel().tolist() == [1, 2, 3, 4]
    assert len(dataset.images) == ROWS


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("has_header", [True, False])
def test_separators(tmp_path: Path, separator: str, has_header: bool) -> None:
    names = ["label", *(f"pixel{i}" for i in NUMBERS)] if has_header else None
    dataset = load_dataset(config(written(tmp_path, names, separator=separator)))
    assert_read(dataset)
    assert f"separated by {'tabs' if separator != ';' else ';'}" in dataset.understood


def test_blanks_whole_floats_and_a_decimal_comma(tmp_path: Path) -> None:
    names = ["label", *(f"pixel{i}" for i in NUMBERS)]
    assert_read(load_dataset(config(written(tmp_path, names, separator=", "))))
    floats = PIXELS.astype(float)
    assert_read(load_dataset(config(written(tmp_path, names, floats, LABELS.astype(float)))))
    fractions = [[f"{pixel / 255:.6f}".replace(".", ",") for pixel in row] for row in PIXELS]
    for header in (names, None):
        path = written(tmp_path, header, fractions, separator=";")
        assert_read(load_dataset(config(path)))


def test_pixels_of_0_to_1_are_scaled_and_said(tmp_path: Path) -> None:
    names = ["label", *(f"pixel{i}" for i in NUMBERS)]
    dataset = load_dataset(config(written(tmp_path, names, PIXELS / 255)))
    assert_read(dataset)
    assert dataset.understood.endswith("pixels of 0..1 scaled to 0..255")

    path = written(tmp_path, names, PIXELS % 2)
    dataset = load_dataset(config(path))
    np.testing.assert_array_equal(dataset.images.reshape(ROWS, -1), PIXELS % 2 * 255)
    assert dataset.understood.endswith("pixels of 0..1 scaled to 0..255")
    dark = load_dataset(config(path, pixel_max=255))
    np.testing.assert_array_equal(dark.images.reshape(ROWS, -1), PIXELS % 2)


def test_the_second_file_is_scaled_as_the_first(tmp_path: Path) -> None:
    names = ["label", *(f"pixel{i}" for i in NUMBERS)]
    train = written(tmp_path, names, PIXELS % 2).rename(tmp_path / "train.csv")
    bright = written(tmp_path, names)
    with pytest.raises(DataError, match=r"own.csv: row 1, column pixel0 is 172; .* a number in 0"):
        load_dataset(config(train, val_file=str(bright)))
    dark = written(tmp_path, names, PIXELS % 2)
    both = load_dataset(config(train, val_file=str(dark)))
    assert both.official_images is not None
    assert both.official_images.max() == 255
    assert both.understood.endswith(f"9 official test images in {dark}")


def test_transposed_pixels(tmp_path: Path) -> None:
    turned = PIXELS.reshape(-1, SIDE, SIDE).transpose(0, 2, 1).reshape(ROWS, -1)
    dataset = load_dataset(config(written(tmp_path, None, turned), transposed=True))
    assert_read(dataset)
    assert "transposed" in dataset.understood
    wide = np.arange(ROWS * 6).reshape(ROWS, 6)
    dataset = load_dataset(
        config(written(tmp_path, None, wide), transposed=True, image_size=[2, 3])
    )
    np.testing.assert_array_equal(dataset.images[0, :, :, 0], [[0, 2, 4], [1, 3, 5]])


def test_labels_from_1_and_words(tmp_path: Path) -> None:
    dataset = load_dataset(config(written(tmp_path, None, labels=LABELS + 1)))
    assert_read(dataset)
    assert dataset.class_names == ("1", "2", "3")
    dataset = load_dataset(
        config(written(tmp_path, None, labels=LABELS + 1), class_names=["a", "b", "c"])
    )
    assert_read(dataset)
    names = ["label", *(f"pixel{i}" for i in NUMBERS)]
    words = [["ant", "bee", "cow"][label] for label in LABELS]
    path = written(tmp_path, names, labels=words)
    dataset = load_dataset(config(path))
    assert_read(dataset)
    assert dataset.class_names == ("ant", "bee", "cow")
    turned = load_dataset(config(path, class_names=["cow", "bee", "ant", "dog"]))
    assert turned.labels.tolist() == (2 - LABELS).tolist()
    with pytest.raises(DataError, match=r"label\[2\] is 'cow'; allowed: ant, bee"):
        load_dataset(config(path, class_names=["ant", "bee"]))


def test_data_label_names_the_column(tmp_path: Path) -> None:
    names = ["Id", "kind", "size", *(f"pixel{i}" for i in NUMBERS)]
    rows = np.column_stack([LABELS, np.arange(ROWS), PIXELS])
    path = written(tmp_path, names, rows, np.arange(ROWS))
    with pytest.raises(DataError, match=r"no column label; data.label=NAME says .*: kind, size$"):
        load_dataset(config(path))
    assert_read(load_dataset(config(path, label="KIND")))
    with pytest.raises(DataError, match=r"data.label=sort: .* has no such column; it has Id, kind"):
        load_dataset(config(path, label="sort"))
    with pytest.raises(DataError, match=r"has no column pixel3; .* has 8 pixel columns"):
        load_dataset(config(path, label="pixel3"))
    path = written(tmp_path, None, label_last=True)
    last = load_dataset(config(path, label=9))
    assert_read(last)
    assert "labels in column 9 (from 0)" in last.understood


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: written(folder, [f"pixel{i}" for i in range(10)], PIXELS),
            "no column label: 10 pixel columns and no others; without labels",
        ),
        (
            lambda folder: written(folder, None, PIXELS[:, 1:], PIXELS[:, 0]),
            "9 columns, as many as data.image_size 3x3x1 has pixels, so none of labels",
        ),
        (
            lambda folder: written(folder, None, np.tile(PIXELS, 4)[:, :16]),
            r"17 columns, but .* 3x3x1 needs 10, .*; data.image_size=\[4, 4\] would fit",
        ),
        (
            lambda folder: written(folder, ["label", *(f"pixel{i:04}" for i in range(27))],
                                   np.tile(PIXELS, 3)),
            r"27 pixel columns, but .* needs 9; data.image_size=\[3, 3, 3\] would fit",
        ),
        (
            lambda folder: written(folder, ["label", *(f"pixel{i}" for i in range(1, 10))],
                                   np.where(PIXELS[4, 4] == PIXELS, 0.5, PIXELS)),
            r"row \d, column pixel\d is 0.5; allowed: an integer in 0\.\.255, or in 0\.\.1 all",
        ),
        (
            lambda folder: written(folder, ["label", *(f"{i}x1" for i in range(9))]),
            "no column 0x0; data.image_size 3x3x1 needs label and 0x0..2x2",
        ),
        (
            lambda folder: written(folder, ["label", *(f"v{i}" for i in range(8)), "w"],
                                   labels=["x", *LABELS[1:]]),
            "row 1, column label is 'x'; allowed: an integer from 0",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, change: Callable[[Path], Path], message: str
) -> None:
    path = change(tmp_path)
    with pytest.raises(DataError, match=message) as refusal:
        load_dataset(config(path))
    assert "\n" not in str(refusal.value)
