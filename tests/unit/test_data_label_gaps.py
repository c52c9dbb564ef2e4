"""`data.close_gaps`: the labels that occur are the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_sweep import dataset_from_arrays
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.data import load_dataset
from fmnist_sweep.errors import DataError

IMAGES = np.random.RandomState(0).randint(0, 256, (6, 4, 4)).astype(np.uint8)
LABELS = np.array([5, 0, 2, 2, 0, 5])


def arrays(**more: Any) -> dict[str, Any]:
    return {"x_train": IMAGES, "y_train": LABELS, **more}


def test_gaps_are_refused_with_what_closes_them() -> None:
    with pytest.raises(
        DataError, match=r"contains label 2, but not every .* data\.close_gaps=true"
    ):
        dataset_from_arrays(arrays())


def test_the_labels_that_occur_are_the_classes() -> None:
    dataset = dataset_from_arrays(
        arrays(x_test=IMAGES[:2], y_test=np.array([2, 5])), close_gaps=True
    )
    assert dataset.class_names == ("0", "2", "5")
    assert dataset.labels.tolist() == [2, 0, 1, 1, 0, 2]
    assert dataset.official_labels is not None
    assert dataset.official_labels.tolist() == [1, 2]
    named = dataset_from_arrays(arrays(), ["a", "b", "c"], close_gaps=True)
    assert named.class_names == ("a", "b", "c")


def test_without_gaps_nothing_changes() -> None:
    labels = np.array([0, 1, 2, 2, 1, 0])
    plain, closed = (
        dataset_from_arrays({"x_train": IMAGES, "y_train": labels}, close_gaps=close)
        for close in (False, True)
    )
    assert plain.class_names == closed.class_names
    assert plain.sha256 == closed.sha256


@pytest.mark.parametrize(
    ("more", "names", "message"),
    [
        (
            {"x_test": IMAGES[:1], "y_test": np.array([3])},
            None,
            r"memory: y_test\[0\] is 3, which no training image has; allowed: 0, 2, 5",
        ),
        ({}, ["a", "b"], "data.class_names has 2 names, but 3 labels occur; allowed"),
    ],
)
def test_what_does_not_fit_is_named(
    more: dict[str, Any], names: list[str] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        dataset_from_arrays(arrays(**more), names, close_gaps=True)


def test_a_table_has_them_closed_too(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    header = ",".join(["label", *(f"pixel{n}" for n in range(16))])
    rows = [
        ",".join(map(str, [label, *image.ravel()]))
        for label, image in zip(LABELS, IMAGES, strict=True)
    ]
    path.write_text("\n".join([header, *rows]) + "\n")
    config = compose_config(
        ["data=csv", f"data.train_file={path}", "data.image_size=[4,4]", "data.close_gaps=true"]
    )
    dataset = load_dataset(config.data)
    assert dataset.class_names == ("0", "2", "5")
    assert dataset.labels.tolist() == [2, 0, 1, 1, 0, 2]
