"""Arrays as others save them: other names, several files, channels first, other pixels, words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_sweep.config.data_schema import NpzData
from fmnist_sweep.data import load_dataset
from fmnist_sweep.data.npz_data import dataset_from_arrays
from fmnist_sweep.errors import DataError

PIXELS = np.random.RandomState(0).randint(0, 256, (6, 8, 5, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def config(file: Path | None, **changed: Any) -> NpzData:
    values = {
        "source": "npz", "file": None if file is None else str(file), "files": None, "arrays": None,
        "class_names": None, "channels_first": None, "close_gaps": False,
        "pixel_max": None, "limit": None,
    }  # fmt: skip
    return NpzData.model_validate({**values, **changed})


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


def test_medmnist_by_itself(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        train_images=PIXELS,
        train_labels=LABELS[:, np.newaxis].astype(np.uint8),
        val_images=PIXELS[:2],
        val_labels=LABELS[:2, np.newaxis],
        test_images=PIXELS[3:],
        test_labels=LABELS[3:, np.newaxis],
    )
    dataset = load_dataset(config(file))
    np.testing.assert_array_equal(dataset.images, PIXELS)
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.validation_labels is not None
    assert dataset.validation_labels.tolist() == [0, 1]
    assert dataset.official_labels is not None
    assert dataset.official_labels.tolist() == [0, 1, 2]
    size = "8×5×3"  # noqa: RUF001
    assert dataset.understood == (
        f"{file}: train_images: 6 images {size}, labels in train_labels, 3 classes, 2 validate, 3 "
        "are the official test set"
    )


def test_other_names(tmp_path: Path) -> None:
    file = saved(tmp_path, pictures=PIXELS, kinds=LABELS, x_test=PIXELS[:2], y_test=LABELS[:2])
    with pytest.raises(
        DataError, match=r"no array x_train; it has: kinds, pictures, x_test, y_test; data.arrays="
    ):
        load_dataset(config(file))
    dataset = load_dataset(config(file, arrays={"x_train": "pictures", "y_train": "kinds"}))
    np.testing.assert_array_equal(dataset.images, PIXELS)
    assert dataset.official_labels is not None
    with pytest.raises(DataError, match=r"data.arrays.y_train=kind: .* has no such array; it has"):
        load_dataset(config(file, arrays={"x_train": "pictures", "y_train": "kind"}))


def test_several_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", PIXELS)
    np.save(tmp_path / "labels.npy", LABELS)
    saved(tmp_path, test=PIXELS[:2], test_labels=LABELS[:2])
    files = {"x_train": str(tmp_path / "images.npz"), "y_train": str(tmp_path / "labels.npy")}
    dataset = load_dataset(config(None, files=files))
    np.testing.assert_array_equal(dataset.images, PIXELS)
    assert dataset.name == "images"
    both = dict.fromkeys(["x_test", "y_test"], str(tmp_path / "own.npz"))
    with pytest.raises(
        DataError, match=r"data.files.x_test: .* has no array x_test; it has: test,"
    ):
        load_dataset(config(None, files={**files, **both}))
    names = {"x_test": "test", "y_test": "test_labels"}
    dataset = load_dataset(config(None, files={**files, **both}, arrays=names))
    assert dataset.official_labels is not None
    for given in ({"file": None}, {"file": "a.npz", "files": files}):
        with pytest.raises(DataError, match=r"data.file: .*; write data.file=FILE or data.files="):
            load_dataset(config(**{"file": None, **given}))
    with pytest.raises(DataError, match=r"data.files.y_train: .*absent.npy does not exist"):
        load_dataset(config(None, files={**files, "y_train": str(tmp_path / "absent.npy")}))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_are_turned(tmp_path: Path, channels: int) -> None:
    images = PIXELS[..., :channels]
    file = saved(tmp_path, x_train=np.moveaxis(images, 3, 1), y_train=LABELS)
    dataset = load_dataset(config(file))
    np.testing.assert_array_equal(dataset.images, images)
    assert "channels first, turned" in dataset.understood
    as_it_was = load_dataset(config(file, channels_first=False))
    assert as_it_was.image_shape == (channels, 8, 5)


def test_channels_that_cannot_be_told_are_refused_with_the_shape_that_was_understood() -> None:
    arrays = {"x_train": np.zeros((6, 5, 32, 32), np.uint8), "y_train": LABELS}
    with pytest.raises(DataError, match=r"\(6, 5, 32, 32\), understood as 5.32 pixels of 32 chan"):
        dataset_from_arrays(arrays)
    assert dataset_from_arrays(arrays, channels_first=True).image_shape == (32, 32, 5)
    assert dataset_from_arrays(arrays, channels_first=False).image_shape == (5, 32, 32)
    for shape in ((6, 3, 32, 3), (6, 9, 9, 9), (6, 64, 32, 10)):
        arrays["x_train"] = np.zeros(shape, np.uint8)
        assert dataset_from_arrays(arrays).image_shape == shape[1:]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (PIXELS / 255, PIXELS),
        ((PIXELS / 255).astype(np.float32), PIXELS),
        (PIXELS % 2, PIXELS % 2 * 255),
        ((PIXELS % 2).astype(bool), PIXELS % 2 * 255),
        (PIXELS.astype(float), PIXELS),
    ],
)
def test_other_pixels(given: Any, expected: Any) -> None:
    dataset = dataset_from_arrays({"x_train": given, "y_train": LABELS})
    np.testing.assert_array_equal(dataset.images, expected)
    is_scaled = given.max() <= 1
    assert ("pixels of 0..1 scaled to 0..255" in dataset.understood) == is_scaled


def test_dark_pixels_stay_as_they_are_where_that_is_said() -> None:
    arrays = {"x_train": PIXELS % 2, "y_train": LABELS}
    np.testing.assert_array_equal(dataset_from_arrays(arrays, pixel_max=255).images, PIXELS % 2)


@pytest.mark.parametrize("kind", ["U", "S"])
def test_words_are_classes(kind: str) -> None:
    words = np.array(["cow", "ant", "bee", "cow", "ant", "bee"]).astype(kind)
    arrays = {"x_train": PIXELS, "y_train": words, "x_test": PIXELS[:1], "y_test": words[1:2]}
    dataset = dataset_from_arrays(arrays)
    assert dataset.class_names == ("ant", "bee", "cow")
    assert dataset.labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert dataset.official_labels is not None
    assert dataset.official_labels.tolist() == [0]
    turned = dataset_from_arrays(arrays, ["cow", "bee", "ant"])
    assert turned.labels.tolist() == [0, 2, 1, 0, 2, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(x_train=PIXELS / 100), r"y?x_train\[.*\] is .*; .* 0\.\.1 all of them"),
        (lambda a: a.update(x_train=PIXELS / 255 - 0.5), r"is -0\.\d+; allowed for pixels: 0\.\.1"),
        (lambda a: a.update(x_train=np.full(PIXELS.shape, np.nan)), "is nan; allowed for pixels"),
        (lambda a: a.update(y_train=np.zeros((6, 14), int)), r"\(6, 14\), .*allowed: \(6,\)"),
        (lambda a: a.update(y_test=np.array(list("ab"))), "y_test has dtype <U1; allowed: i"),
        (lambda a: a.update(x_val=PIXELS), "memory has x_val but no y_val"),
        (lambda a: a.update(x_test=(PIXELS / 255)[:2]), r"x_test\[0, .*; .*0\.\.255, whole"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change: Callable[[Any], None], message: str) -> None:
    arrays = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:2], "y_test": LABELS[:2]}
    change(arrays)
    with pytest.raises(DataError, match=message) as refusal:
        dataset_from_arrays(arrays)
    assert "\n" not in str(refusal.value)
