from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_sweep.config.data_schema import CsvData, NpzData
from fmnist_sweep.data import load_dataset
from fmnist_sweep.data.csv_data import ROWS_AT_A_TIME
from fmnist_sweep.data.npz_data import dataset_from_arrays
from fmnist_sweep.errors import DataError

SIZE = [2, 3]


def table(rows: int, size: list[int] = SIZE, classes: int = 3) -> pd.DataFrame:
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (rows, math.prod(size)))
    frame = pd.DataFrame(pixels, columns=[f"pixel{i + 1}" for i in range(pixels.shape[1])])
    frame.insert(0, "label", np.arange(rows) % classes)
    return frame


def csv(
    train: Path | str,
    val: Path | None = None,
    size: list[int] = SIZE,
    class_names: list[str] | None = None,
    **changed: Any,
) -> CsvData:
    values = {
        "source": "csv", "train_file": str(train), "val_file": None if val is None else str(val),
        "image_size": size, "class_names": class_names, "label": None, "transposed": False,
        "close_gaps": False, "pixel_max": None, "limit": None,
    }  # fmt: skip
    return CsvData.model_validate({**values, **changed})


def written(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


# --- CSV --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [[2, 3], [2, 3, 1], [3, 2, 4]])
def test_a_table_comes_back_as_images(tmp_path: Path, size: list[int]) -> None:
    frame = table(9, size)
    train, val = written(frame, tmp_path / "mine.csv"), written(frame[:6], tmp_path / "val.csv.gz")

    dataset = load_dataset(csv(train, val, size))

    assert dataset.name == "mine"
    assert dataset.image_shape == (*size, 1)[:3]
    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64
    assert np.array_equal(dataset.images.reshape(9, -1), frame.iloc[:, 1:])
    assert np.array_equal(dataset.labels, frame["label"])
    assert np.array_equal(dataset.official_images, dataset.images[:6])
    assert np.array_equal(dataset.official_labels, dataset.labels[:6])
    assert dataset.class_names == ("0", "1", "2")


def test_a_table_longer_than_a_chunk_is_read_whole(tmp_path: Path) -> None:
    frame = table(ROWS_AT_A_TIME + 5)
    dataset = load_dataset(csv(written(frame, tmp_path / "long.csv")))
    assert np.array_equal(dataset.images.reshape(len(frame), -1), frame.iloc[:, 1:])


def test_column_order_other_columns_and_whole_floats_do_not_matter(tmp_path: Path) -> None:
    frame = table(6)
    shuffled = frame.astype({"pixel2": float})[list(frame.columns[::-1])]
    shuffled.insert(1, "str_label", "x")

    plain = load_dataset(csv(written(frame, tmp_path / "plain.csv")))
    other = load_dataset(csv(written(shuffled, tmp_path / "shuffled.csv")))

    assert other.sha256 == plain.sha256


@pytest.mark.parametrize(
    ("size", "largest", "given", "expected"),
    [
        ([28, 28], 2, None, ("0", "1", "2")),
        ([28, 28, 1], 9, None, tuple(map(str, range(10)))),
        ([28, 28], 11, None, tuple(map(str, range(12)))),
        ([14, 14, 4], 2, None, ("0", "1", "2")),
        ([28, 28], 1, ["cat", "dog"], ("cat", "dog")),
    ],
)
def test_class_names(
    tmp_path: Path,
    size: list[int],
    largest: int,
    given: list[str] | None,
    expected: tuple[str, ...],
) -> None:
    file = written(table(24, size, classes=largest + 1), tmp_path / "t.csv")
    assert load_dataset(csv(file, size=size, class_names=given)).class_names == expected


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("pixel4", 256, r"row 5, column pixel4 is 256; allowed: an integer in 0\.\.255"),
        ("pixel4", -1, "column pixel4 is -1"),
        ("pixel6", 1.5, r"column pixel6 is 1\.5"),
        ("pixel1", "dark", "column pixel1 is 'dark'"),
        ("pixel1", None, "row 5, column pixel1 is blank"),
        ("pixel1", 10**30, "column pixel1 is '?10{30}"),
        ("pixel1", "inf", "column pixel1 is inf"),
        ("label", -1, "row 5, column label is -1; allowed: an integer from 0"),
        ("label", 0.5, r"column label is 0\.5"),
        ("label", "Bag", "column label is 'Bag'"),
        ("label", 3, r"label\[4\] is 3; allowed for labels: 0\.\.2"),
        ("label", 2**63, "column label is 9223372036854775808"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, column: str, value: Any, message: str) -> None:
    frame = table(6).astype(object)
    frame.loc[4, column] = value
    file = written(frame, tmp_path / "bad.csv")

    with pytest.raises(DataError, match=message) as refusal:
        load_dataset(csv(file, class_names=["a", "b", "c"]))

    assert str(file) in str(refusal.value)


@settings(max_examples=30, deadline=None)
@given(row=st.integers(1, 30), column=st.integers(1, 6), value=st.integers(256, 10**6))
def test_any_pixel_that_is_too_bright_is_found(row: int, column: int, value: int) -> None:
    frame = table(30)
    frame.loc[row - 1, f"pixel{column}"] = value
    with TemporaryDirectory() as folder:
        file = written(frame, Path(folder) / "bright.csv")
        with pytest.raises(DataError, match=f"row {row}, column pixel{column} is {value};"):
            load_dataset(csv(file))


def test_a_bad_row_past_the_first_chunk_has_its_number(tmp_path: Path) -> None:
    frame = table(ROWS_AT_A_TIME + 5)
    frame.loc[ROWS_AT_A_TIME + 1, "pixel3"] = 999
    file = written(frame, tmp_path / "long.csv")
    with pytest.raises(DataError, match=f"row {ROWS_AT_A_TIME + 2}, column pixel3 is 999"):
        load_dataset(csv(file))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="label"), "no column label"),
        (lambda frame: frame.drop(columns=["pixel3", "pixel5"]), "no column pixel3;"),
        (lambda frame: frame.drop(columns="pixel6"), "no column pixel6; .* 5 pixel columns"),
        (lambda frame: frame.assign(pixel7=1), "7 pixel columns, but data.image_size 2x3x1 .* 6"),
        (lambda frame: frame[:0], "has no images"),
        (lambda frame: frame.replace({"label": {2: 3}}), "contains label 3"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    file = written(change(table(6)), tmp_path / "odd.csv")
    with pytest.raises(DataError, match=message):
        load_dataset(csv(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable CSV"),
        (b"\xff\xfe\x00\x01,\x93\n", "not a readable CSV"),
        (b"label,pixel1\n0,1\n1,2,3\n", "not a readable CSV.* line 3"),
        (b"label,pixel1\n0,1,7\n1,2,3\n", "more fields than the header"),
        (b"label,pixel1\n0,1,7\n1,2\n", "more fields than the header"),
        (b"label,pixel1\n0,1\n1\n", "row 2, column pixel1 is blank"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "malformed.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as refusal:
        load_dataset(csv(file, size=[1, 1]))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    train = written(table(6), tmp_path / "train.csv")
    with pytest.raises(DataError, match=r"absent\.csv does not exist"):
        load_dataset(csv(tmp_path / "absent.csv"))
    with pytest.raises(DataError, match=r"val\.csv does not exist"):
        load_dataset(csv(train, tmp_path / "val.csv"))
    with pytest.raises(DataError, match="not a readable CSV"):
        load_dataset(csv(tmp_path))


WEB_PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to download</body></html>"
TABLE = b"label,pixel1\n0,1\n1,2\n"


def zipped(*names: str, content: bytes = TABLE) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


def tarred(content: bytes = TABLE) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("own.csv")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def in_each_header(archive: bytes, offset: int, value: int) -> bytes:
    """Set a byte in a zip archive's one local header, and in its entry in the directory."""
    changed = bytearray(archive)
    changed[archive.index(b"PK\x03\x04") + offset] = value
    changed[archive.index(b"PK\x01\x02") + offset + 2] = value
    return bytes(changed)


def with_password(archive: bytes) -> bytes:
    return in_each_header(archive, 6, 1)


def of_unknown_compression(archive: bytes) -> bytes:
    return in_each_header(archive, 8, 97)


@pytest.mark.parametrize("name", ["own.csv", "own.csv.gz", "own.zip"])
@pytest.mark.parametrize(
    "content",
    [
        TABLE, b"\xef\xbb\xbf" + TABLE, gzip.compress(TABLE), bz2.compress(TABLE),
        lzma.compress(TABLE), zipped("own.csv"), tarred(), gzip.compress(tarred()),
    ],
)  # fmt: skip
def test_what_a_file_holds_decides_how_it_is_unpacked(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert load_dataset(csv(tmp_path / name, size=[1, 1])).images.ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (WEB_PAGE, "a web page"),
        (gzip.compress(WEB_PAGE), "a web page"),
        (b"", "an empty file"),
        (gzip.compress(b""), "an empty file"),
        (zipped("own.csv")[:60], "a zip archive; its end is missing"),
        (with_password(zipped("own.csv")), "a zip archive; File 'own.csv' is encrypted"),
        (of_unknown_compression(zipped("own.csv")), "a zip archive; That compression method"),
        (zipped(), "a zip archive; 0 files in it"),
        (zipped("a.csv", "b.csv"), "a zip archive; 2 files in it: a.csv, b.csv"),
        (gzip.compress(TABLE)[:-9], "gzip data; Compressed file ended"),
        (gzip.compress(TABLE)[:-6] + b"123456", "gzip data; CRC check failed"),
        (bz2.compress(TABLE)[:-9], "bzip2 data"),
        (lzma.compress(TABLE)[:20], "xz data"),
        (tarred()[:700], "a tar archive"),
        (b"\x28\xb5\x2f\xfd....", "Zstandard data"),
        (TABLE.decode().encode("utf-16"), "text in UTF-16"),
        ("läbel,pixel1\n0,1\n".encode("latin-1"), "text; 'utf-8' codec"),
        (b"1," * 5_000_000, "a first line (the header) of 4,194,304 bytes or more"),
        (b"1," * 100_000, "a header of 100,001 columns, many with the same name"),
    ],
)  # fmt: skip
def test_what_is_found_in_place_of_a_table_is_named(
    tmp_path: Path, content: bytes, found: str
) -> None:
    train = written(table(2, [1, 1], classes=2), tmp_path / "train.csv")
    for name in ("own.csv", "own.zip"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as refusal:
            load_dataset(csv(train, tmp_path / name, size=[1, 1]))
        said = str(refusal.value)
        assert said.startswith(
            f"data.val_file: {tmp_path / name} is not a readable CSV: found {found}"
        )
        assert said.endswith("; allowed: CSV in UTF-8, plain or packed as gzip, bzip2, xz, zip or "
                             "tar with one file in it")  # fmt: skip
        assert "\n" not in said


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    for name, message in [
        (str(tmp_path / "pipe"), "neither a file nor a folder"),
        (str(tmp_path), "it is a folder; allowed: a file"),
        (str(tmp_path / "circle"), "circle does not exist"),
        ("~nobody-has-this-name/own", "~nobody-has-this-name/own cannot be opened"),
        ("x" * 300, "x cannot be opened: File name too long"),
    ]:
        with pytest.raises(DataError, match=f"data.train_file: .*{message}"):
            load_dataset(csv(name))
        with pytest.raises(DataError, match=f"data.file: .*{message}"):
            load_dataset(npz(Path(name)))


# --- arrays -----------------------------------------------------------------------------------


def arrays(**changed: Any) -> dict[str, Any]:
    random = np.random.RandomState(0)
    given = {
        "x_train": random.randint(0, 256, (6, 4, 5, 3)).astype(np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": random.randint(0, 256, (2, 4, 5, 3)).astype(np.uint8),
        "y_test": np.array([2, 0]),
        **changed,
    }
    return {name: array for name, array in given.items() if array is not None}


def npz(file: Path, class_names: list[str] | None = None) -> NpzData:
    return NpzData(
        source="npz", file=str(file), files=None, arrays=None, class_names=class_names,
        close_gaps=False, channels_first=None, pixel_max=None, limit=None,
    )  # fmt: skip


def saved(folder: Path, **changed: Any) -> Path:
    np.savez(folder / "own.npz", **arrays(**changed))
    return folder / "own.npz"


def test_arrays_come_back_as_they_were_saved(tmp_path: Path) -> None:
    dataset = load_dataset(npz(saved(tmp_path), ["a", "b", "c", "d"]))

    assert dataset.name == "own"
    assert dataset.image_shape == (4, 5, 3)
    assert dataset.class_names == ("a", "b", "c", "d")
    for found, expected in zip(
        (dataset.images, dataset.labels, dataset.official_images, dataset.official_labels),
        arrays().values(),
        strict=True,
    ):
        assert np.array_equal(found, expected)
    assert dataset_from_arrays(arrays()).sha256 == dataset.sha256


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, ">i4"])
def test_any_integer_dtype_and_grey_images_will_do(tmp_path: Path, dtype: Any) -> None:
    pixels = np.arange(6 * 20).reshape(6, 4, 5)
    file = saved(
        tmp_path,
        x_train=pixels.astype(dtype),
        y_train=np.array([0, 1, 0, 1, 0, 1], dtype),
        x_test=None,
        y_test=None,
    )

    dataset = load_dataset(npz(file))

    assert dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64
    assert np.array_equal(dataset.images, pixels[..., np.newaxis])
    assert dataset.class_names == ("0", "1")
    assert dataset.official_images is None
    assert dataset.official_labels is None


@pytest.mark.parametrize(
    ("changed", "class_names", "message"),
    [
        ({"x_train": None}, None, r"no array x_train; it has: x_test, y_test, y_train"),
        ({"y_train": None}, None, "no array y_train"),
        ({"y_test": None}, None, "has x_test but no y_test"),
        ({"x_test": None}, None, "has y_test but no x_test"),
        ({"x_train": np.zeros((6, 4))}, None, r"x_train has shape \(6, 4\)"),
        ({"x_train": np.zeros((0, 4, 4), int)}, None, r"x_train has shape \(0, 4, 4\)"),
        ({"x_train": np.zeros((6, 4, 5, 3), complex)}, None, "x_train has dtype complex128"),
        (
            {"x_train": np.full((6, 4, 5, 3), 1.5)},
            None,
            r"\[0, 0, 0, 0\] is 1\.5; .* whole numbers",
        ),
        ({"x_train": np.full((6, 4, 5, 3), 256)}, None, r"x_train\[0, 0, 0, 0\] is 256"),
        ({"x_train": np.full((6, 4, 5, 3), -1)}, None, r"is -1; allowed for pixels: 0\.\.255"),
        ({"x_test": np.zeros((2, 4, 5), int)}, None, r"x_test .*\(4, 5, 1\), but .*\(4, 5, 3\)"),
        ({"y_train": np.zeros(5, int)}, None, r"y_train has shape \(5,\).* 6 images"),
        ({"y_train": np.zeros((6, 2), int)}, None, r"y_train has shape \(6, 2\)"),
        ({"y_train": np.zeros(6)}, None, "y_train has dtype float64"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 4])}, None, "y_train contains label 4"),
        ({"y_train": np.array([1, 2, 3, 1, 2, 3])}, None, "y_train contains label 1"),
        ({"y_train": np.array([0, -1, 2, 0, 1, 2])}, None, "y_train contains label -1"),
        ({"y_test": np.array([3, 0])}, None, r"y_test\[0\] is 3; allowed for labels: 0\.\.2"),
        ({}, ["a", "b"], r"y_train\[2\] is 2; allowed for labels: 0\.\.1"),
        ({}, ["a", "b", "a"], "'a' twice"),
        ({}, [], "is empty"),
        ({"y_train": np.array([None] * 6)}, None, "not a readable .npz file of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, changed: dict[str, Any], class_names: list[str] | None, message: str
) -> None:
    file = saved(tmp_path, **changed)
    with pytest.raises(DataError, match=message) as refusal:
        load_dataset(npz(file, class_names))
    assert "\n" not in str(refusal.value)


def test_files_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_dataset(npz(tmp_path / "absent.npz"))

    np.save(tmp_path / "bare.npy", np.zeros(3))
    with pytest.raises(DataError, match="a single array"):
        load_dataset(npz(tmp_path / "bare.npy"))

    whole = saved(tmp_path).read_bytes()
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays(x_test=None, y_train=None, y_test=None))
    one = packed.getvalue()  # an array
    for content, found in [
        (b"", "found an empty file"),
        (b"hello", "found text"),
        (WEB_PAGE, "found a web page"),
        (pickle.dumps({"x_train": 1}), "found a pickle"),
        (whole[: len(whole) // 2], "found a zip archive; its end is missing"),
        (with_password(one), "found a zip archive; File 'x_train.npy' is encrypted"),
        (of_unknown_compression(one), "found a zip archive; That compression method"),
        (zipped("x_train.npy", content=b"x"), "x_train in it is not an array"),
        (zipped("x_train"), "x_train in it is not an array"),
        (zipped("x_train.npy", content=HUGE), "found a zip archive; Unable to allocate"),
    ]:
        (tmp_path / "cut.npz").write_bytes(content)
        with pytest.raises(DataError) as refusal:
            load_dataset(npz(tmp_path / "cut.npz"))
        assert str(refusal.value).startswith(
            f"data.file: {tmp_path}/cut.npz is not a readable .npz file of plain arrays: {found}"
        )
        assert "\n" not in str(refusal.value)


HUGE = b"\x93NUMPY\x01\x00\x76\x00" + (
    b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 28, 28), }".ljust(117)
    + b"\n"
)


# --- the digest -------------------------------------------------------------------------------


def test_the_digest_depends_on_values_and_shapes_alone() -> None:
    plain = dataset_from_arrays(arrays())
    pixels = arrays()["x_train"]

    renamed = dataset_from_arrays(arrays(), ["a", "b", "c"], name="other", source="elsewhere")
    strided = dataset_from_arrays(arrays(x_train=np.asfortranarray(pixels)))
    assert renamed.sha256 == strided.sha256 == plain.sha256

    touched = pixels.copy()
    touched[3, 2, 1, 0] ^= 1
    others = [
        arrays(x_train=touched),
        arrays(x_train=pixels.reshape(6, 5, 4, 3), x_test=None, y_test=None),
        arrays(x_test=None, y_test=None),
        arrays(y_train=np.array([0, 1, 2, 0, 2, 1])),
        arrays(y_test=np.array([2, 1])),
    ]
    digests = {dataset_from_arrays(other).sha256 for other in others}
    assert len(digests | {plain.sha256}) == len(others) + 1
