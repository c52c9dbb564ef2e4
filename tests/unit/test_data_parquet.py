"""Parquet files with a column of pictures, as Hugging Face's data sets have them."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fmnist_sweep.config.data_schema import ParquetData
from fmnist_sweep.data import load_dataset
from fmnist_sweep.errors import DataError

PIXELS = np.random.RandomState(0).randint(0, 256, (9, 4, 6)).astype(np.uint8)
LABELS = np.arange(9) % 3


@pytest.fixture(autouse=True)
def in_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    return tmp_path / "workspace"


def config(path: Path, **changed: Any) -> ParquetData:
    values = {
        "source": "parquet", "file": str(path), "image": None, "label": None, "class_names": None,
        "image_size": [4, 6], "channels": 1, "fit": "predict", "skip_damaged": False, "limit": None,
    }  # fmt: skip
    return ParquetData.model_validate({**values, **changed})


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def written(
    path: Path, pixels: Any = PIXELS, labels: Any = LABELS, names: Any = None, **more: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [{"bytes": png(one), "path": f"{i}.png"} for i, one in enumerate(pixels)]
    table = pa.table({"image": pictures, "label": labels, **more})
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        about = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": about})
    pq.write_table(table, path, row_group_size=4)
    return path


def test_hugging_faces_layout(tmp_path: Path, in_a_workspace: Path) -> None:
    folder = tmp_path / "pets" / "data"
    names = ["ant", "bee", "cow"]
    written(folder / "train-00000-of-00002-0a1b.parquet", PIXELS[:5], LABELS[:5], names)
    written(folder / "train-00001-of-00002-0a1b.parquet", PIXELS[5:], LABELS[5:], names)
    written(folder / "validation-00000-of-00001.parquet", PIXELS[:2], LABELS[:2], names)
    written(folder / "test-00000-of-00001.parquet", PIXELS[4:], LABELS[4:], names)
    for _ in range(2):  # read, and from the cache
        dataset = load_dataset(config(tmp_path / "pets"))
        np.testing.assert_array_equal(dataset.images[..., 0], PIXELS)
        assert dataset.labels.tolist() == LABELS.tolist()
        assert dataset.class_names == ("ant", "bee", "cow")
        assert dataset.validation_labels is not None
        assert dataset.validation_labels.tolist() == [0, 1]
        np.testing.assert_array_equal(dataset.official_images[..., 0], PIXELS[4:])  # type: ignore[index]
        assert "images in column 'image', labels in column 'label'" in dataset.understood
    assert len(list((in_a_workspace / "mlruns" / "pictures").iterdir())) == 1
    renamed = load_dataset(config(tmp_path / "pets", class_names=["a", "b", "c"]))
    assert renamed.class_names == ("a", "b", "c")
    assert renamed.sha256 == dataset.sha256
    with pytest.raises(DataError, match=r"data.class_names lists 'a' twice"):
        load_dataset(config(tmp_path / "pets", class_names=["a", "b", "a"]))


def test_one_file_with_bytes_and_words(tmp_path: Path) -> None:
    table = pa.table(
        {
            "jpg": [png(one) for one in PIXELS],
            "kind": [["cow", "ant", "bee"][label] for label in LABELS],
        }
    )
    pq.write_table(table, tmp_path / "pets.parquet")
    dataset = load_dataset(config(tmp_path / "pets.parquet"))
    assert dataset.class_names == ("ant", "bee", "cow")
    assert dataset.labels.tolist() == ((LABELS + 2) % 3).tolist()
    np.testing.assert_array_equal(dataset.images[..., 0], PIXELS)


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", fine=LABELS[::-1], thumbnail=[b"x"] * 9)
    dataset = load_dataset(config(path, label="fine"))
    assert dataset.labels.tolist() == LABELS[::-1].tolist()
    with pytest.raises(DataError, match=r"data.label=size: .*; it has: label, fine"):
        load_dataset(config(path, label="size"))
    with pytest.raises(DataError, match=r"data.image=label: .*; it has: image, thumbnail"):
        load_dataset(config(path, image="label"))
    with pytest.raises(DataError, match=r"a.parquet row 1: cannot be read as a picture"):
        load_dataset(config(path, image="thumbnail"))


def test_a_damaged_picture_is_named_or_left_out(tmp_path: Path, in_a_workspace: Path) -> None:
    pictures = [{"bytes": png(one)} for one in PIXELS]
    pictures[4] = {"bytes": b"no picture"}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pictures, "label": LABELS}), path)
    with pytest.raises(DataError, match=r"a.parquet row 5: cannot be read as a picture"):
        load_dataset(config(path))
    assert list(in_a_workspace.iterdir()) == []
    dataset = load_dataset(config(path, skip_damaged=True))
    np.testing.assert_array_equal(dataset.images[..., 0], np.delete(PIXELS, 4, axis=0))
    assert dataset.labels.tolist() == np.delete(LABELS, 4).tolist()
    assert "1 damaged left out" in dataset.understood


def test_a_change_of_the_content_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet")
    times = path.stat()
    before = load_dataset(config(path)).sha256
    written(path, PIXELS[::-1])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert load_dataset(config(path)).sha256 != before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("hello"), "is not a readable Parquet file: found text"),
        (lambda path: None, "does not exist; allowed: a file"),
        (lambda path: path.mkdir(), "has no .parquet files"),
        (lambda path: written(path, labels=LABELS + 1), "column label contains 1, but not every"),
        (lambda path: written(path, labels=LABELS - 1, names=["a", "b", "c"]),
         r"row 1, column label is -1; allowed: 0\.\.2; -1 stands for no label"),
        (lambda path: written(path, labels=[None, *LABELS[1:]]), "row 1 has no label"),
        (lambda path: pq.write_table(pa.table({"label": LABELS}), path), "no column of pictures"),
        (lambda path: pq.write_table(pa.table({"image": [b""] * 9}), path), "no column of labels"),
        (lambda path: [written(path / "train.parquet"), written(path / "more.parquet")],
         "more.parquet, of no set; allowed: names that begin with train"),
        (lambda path: written(path / "test.parquet"), "has no training images"),
        (lambda path: [written(path / "train.parquet"),
                       pq.write_table(pa.table({"img": [b""]}), path / "test.parquet")],
         "test.parquet has no column image"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    tmp_path: Path, in_a_workspace: Path, make: Callable[[Path], Any], message: str
) -> None:
    path = tmp_path / "own.parquet"
    make(path)
    with pytest.raises(DataError, match=message) as refusal:
        load_dataset(config(path))
    assert "\n" not in str(refusal.value)
    assert list(in_a_workspace.iterdir()) == []
