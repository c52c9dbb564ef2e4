from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fmnist_sweep.config.data_schema import CsvData, FashionMnistData
from fmnist_sweep.data import FASHION_MNIST_CLASSES, Dataset, load_dataset
from fmnist_sweep.data import fashion_mnist as module
from fmnist_sweep.data.fashion_mnist import SHA256, load_fashion_mnist
from fmnist_sweep.data.fashion_mnist_content import BITS_FILE, bits_of
from fmnist_sweep.errors import ConfigError, DataError


def config(directory: Path | None = None, limit: int | None = None) -> FashionMnistData:
    return FashionMnistData(
        source="fashion_mnist", dir=None if directory is None else str(directory), limit=limit
    )


@pytest.fixture(scope="module")
def real() -> Dataset:
    return load_dataset(config())


@pytest.fixture(scope="module")
def raw_files(real: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files, not gzipped, written anew from the arrays."""
    folder = tmp_path_factory.mktemp("raw")
    assert real.official_images is not None
    assert real.official_labels is not None
    for part, images, labels in (
        ("train", real.images, real.labels),
        ("t10k", real.official_images, real.official_labels),
    ):
        header = struct.pack(">4I", 0x803, len(images), 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">2I", 0x801, len(labels))
        content = header + labels.astype(np.uint8).tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(content)
    return folder


@pytest.fixture
def folder(raw_files: Path, tmp_path: Path) -> Path:
    """A folder of links to the four files, for a test to spoil."""
    spoiled = tmp_path / "fashion"
    spoiled.mkdir()
    for file in raw_files.iterdir():
        (spoiled / file.name).symlink_to(file)
    return spoiled


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_real_data_has_its_published_shape_and_balance(real: Dataset) -> None:
    assert real.images.shape == (60000, 28, 28, 1)
    assert real.images.dtype == np.uint8
    assert real.labels.dtype == np.int64
    assert real.official_images is not None
    assert real.official_images.shape == (10000, 28, 28, 1)
    assert np.bincount(real.labels).tolist() == [6000] * 10
    assert np.bincount(real.official_labels).tolist() == [1000] * 10
    assert real.class_names == FASHION_MNIST_CLASSES
    assert not real.synthetic
    # Published facts: the first image is an ankle boot, the mean pixel is 0.2860 of full white.
    assert FASHION_MNIST_CLASSES[real.labels[0]] == "Ankle boot"
    assert real.images.mean() / 255 == pytest.approx(0.2860, abs=5e-5)


def test_it_is_known_by_its_images_in_whatever_table_they_are(
    real: Dataset, tmp_path: Path
) -> None:
    assert real.official_images is not None
    assert real.official_labels is not None
    # Kaggle's tables mix the original's training and test images.
    images = np.concatenate([real.images[-70:], real.official_images[:30]])
    labels = np.concatenate([real.labels[-70:], real.official_labels[:30]])
    order = np.random.RandomState(0).permutation(100)
    digits = tuple(str(label) for label in range(10))
    for count, changed_labels, pixels, expected in [
        (100, labels, images, FASHION_MNIST_CLASSES),
        (20, labels, images, FASHION_MNIST_CLASSES),
        (100, np.where(np.arange(100) < 9, 0, labels), images, FASHION_MNIST_CLASSES),
        (100, (labels + 1) % 10, images, digits),
        (100, labels, images ^ 1, digits),
    ]:
        frame = pd.DataFrame(pixels.reshape(100, -1)[order][:count])
        frame.columns = [f"pixel{number}" for number in range(1, 785)]
        frame.insert(0, "label", changed_labels[order][:count])
        frame.to_csv(tmp_path / "own.csv", index=False)
        table = CsvData(
            source="csv", train_file=str(tmp_path / "own.csv"), val_file=None,
            image_size=[28, 28], class_names=None, label=None, transposed=False, close_gaps=False,
            pixel_max=None, limit=None,
        )  # fmt: skip
        assert load_dataset(table).class_names == expected


def test_the_bits_are_those_of_the_original(real: Dataset) -> None:
    assert lzma.decompress(bits_of(real)) == lzma.decompress(BITS_FILE.read_bytes())


def test_raw_and_gzipped_files_give_the_same_data(real: Dataset, folder: Path) -> None:
    packed = folder / "t10k-labels-idx1-ubyte"
    content = packed.read_bytes()
    packed.unlink()
    packed.with_name(packed.name + ".gz").write_bytes(gzip.compress(content))

    assert load_dataset(config(folder)).sha256 == real.sha256


def test_the_environment_names_the_folder_where_the_config_does_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMNIST_DATA_DIR", str(folder))
    assert load_dataset(config()).source == str(folder)

    monkeypatch.setenv("FMNIST_DATA_DIR", str(tmp_path / "nowhere"))
    assert load_dataset(config(folder)).source == str(folder)
    with pytest.raises(DataError, match=r"nowhere/train-images-idx3-ubyte\[.gz\] is missing"):
        load_dataset(config())


@pytest.mark.parametrize("name", SHA256)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(DataError) as refusal:
        load_dataset(config(folder))

    assert str(folder / name) in str(refusal.value)
    assert SHA256[name] in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"<html>Sign in</html>", "is damaged (Not a gzipped file (b'<h'); found a web page)"),
        (b"", "has content with SHA-256 e3b0c442"),
        (
            gzip.compress(b"0" * 1000)[:-12],
            "is damaged (Compressed file ended before the end-of-stream marker was reached; ",
        ),
    ],
)
def test_a_file_that_is_none_is_named(folder: Path, content: bytes, found: str) -> None:
    name = "t10k-labels-idx1-ubyte"
    (folder / name).unlink()
    (folder / f"{name}.gz").write_bytes(content)
    with pytest.raises(DataError) as refusal:
        load_dataset(config(folder))
    assert str(refusal.value).startswith(f"{folder / name}.gz {found}")


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-has-this-name/data"])
def test_a_folder_that_cannot_be_found_is_named(name: str) -> None:
    with pytest.raises(DataError, match=rf"{name[:200]} ?\(data.dir or FMNIST_DATA_DIR\)|{name}"):
        load_dataset(config(Path(name)))


@pytest.mark.parametrize("name", SHA256)
def test_one_altered_byte_is_caught(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).unlink()
    (folder / name).write_bytes(content)

    with pytest.raises(DataError) as refusal:
        load_dataset(config(folder))

    for part in (str(folder / name), sha256(content), SHA256[name]):
        assert part in str(refusal.value)


@pytest.mark.parametrize("missing_bytes", [1, 8, 1000])
def test_a_truncated_gzip_file_is_caught(folder: Path, missing_bytes: int) -> None:
    name = "t10k-labels-idx1-ubyte"
    whole = gzip.compress((folder / name).read_bytes())
    (folder / f"{name}.gz").write_bytes(whole[:-missing_bytes])

    with pytest.raises(DataError) as refusal:
        load_dataset(config(folder))

    for part in (f"{folder / name}.gz is damaged", SHA256[name]):
        assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_truncated_raw_file_and_a_text_named_gz_are_caught(folder: Path) -> None:
    name = "train-labels-idx1-ubyte"
    part = (folder / name).read_bytes()[:-1]
    (folder / name).unlink()
    (folder / name).write_bytes(part)
    with pytest.raises(DataError, match=sha256(part)):
        load_dataset(config(folder))

    (folder / f"{name}.gz").write_text("<html>not found</html>")
    with pytest.raises(DataError, match=rf"{name}\.gz is damaged \(Not a gzipped file"):
        load_dataset(config(folder))


def test_the_keras_cache_serves_where_the_system_has_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: Dataset
) -> None:
    monkeypatch.setattr(module, "SYSTEM_FOLDER", tmp_path / "no-such-folder")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    cache = tmp_path / "keras" / "datasets" / "fashion-mnist"
    cache.parent.mkdir(parents=True)
    folder.rename(cache)

    found = load_fashion_mnist(None)

    assert found.source == str(cache)
    assert found.sha256 == real.sha256


PROGRAM = """
import sys
from pathlib import Path
from fmnist_sweep.data import fashion_mnist
from fmnist_sweep.data.fashion_mnist_content import BITS_FILE, bits_of
from fmnist_sweep.errors import DataError
fashion_mnist.SYSTEM_FOLDER = Path("/no-such-folder")
try:
    print("sha256", eval(sys.argv[1], vars(fashion_mnist)).sha256)
except DataError as error:
    print("refused", error)
"""


def in_a_process(expression: str, keras_home: Path) -> str:
    """Evaluate within the module, with a Keras of its own and no network; return the answer."""
    offline = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, expression],
        env={**os.environ, **offline, "KERAS_HOME": str(keras_home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip().splitlines()[-1]


def test_what_keras_downloads_is_verified_to_be_the_same(
    real: Dataset, raw_files: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "datasets" / "fashion-mnist"
    cache.mkdir(parents=True)
    for file in raw_files.iterdir():  # Keras does not fetch what it has
        (cache / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 1))

    answer = in_a_process("_from_download(Path())", tmp_path)
    assert answer == f"sha256 {real.sha256}"


def test_without_any_source_the_error_names_the_four_ways(tmp_path: Path) -> None:
    answer = in_a_process("load_fashion_mnist(None)", tmp_path)

    assert answer.startswith("refused Fashion-MNIST was not found")
    for way in ("data.dir", "FMNIST_DATA_DIR", "dataset-fashion-mnist", str(tmp_path), "download"):
        assert way in answer


def test_a_limit_keeps_the_first_images_of_each_class_in_order(real: Dataset) -> None:
    few = load_dataset(config(limit=500))

    assert np.bincount(few.labels).tolist() == [50] * 10
    for label in range(10):
        first = real.images[real.labels == label][:50]
        assert np.array_equal(few.images[few.labels == label], first)
    order = [np.flatnonzero(real.labels == label)[:50] for label in range(10)]
    assert np.array_equal(few.labels, real.labels[np.sort(np.concatenate(order))])
    assert np.array_equal(few.official_images, real.official_images)
    assert few.sha256 != real.sha256


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (505, "data.limit=505 is not divisible by the 10 classes"),
        (3, "data.limit=3 is not divisible"),
        (60010, r"data.limit=60010 takes 6001 .* class T-shirt/top has 6000"),
    ],
)
def test_a_limit_that_does_not_fit_is_refused(limit: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_dataset(config(limit=limit))
