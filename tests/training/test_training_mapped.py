"""Images that are mapped from a file are trained on as those in memory are, and are not copied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import config_of, contents

from fmnist_sweep.data import Dataset, load_dataset, make_split
from fmnist_sweep.executors.ray_worker import _writable
from fmnist_sweep.tracking.run_log import dataset_inputs
from fmnist_sweep.training.batches import TrainingData
from fmnist_sweep.training.rung import default_builder
from fmnist_sweep.training.train import train


@pytest.fixture(scope="module")
def memory() -> Dataset:
    drawn = load_dataset(config_of().data)
    own = drawn.images[:20].copy(), drawn.labels[:20]
    return replace(drawn, validation_images=own[0], validation_labels=own[1])


@pytest.fixture
def mapped(memory: Dataset, tmp_path: Path) -> Dataset:
    def on_disk(name: str) -> Any:
        images = getattr(memory, name)
        images.tofile(tmp_path / name)
        return np.memmap(tmp_path / name, np.uint8, mode="c", shape=images.shape)

    names = ("images", "official_images", "validation_images")
    return replace(memory, **{name: on_disk(name) for name in names})


@pytest.mark.parametrize("scheme", ["balanced", "official"])
def test_a_training_on_mapped_images_gives_the_same_weights(
    memory: Dataset, mapped: Dataset, tmp_path: Path, scheme: str
) -> None:
    config = config_of(f"split={scheme}", "train.threads=1")
    split = make_split(config.split, memory)
    assert split.validation_pool == "validation"
    assert mapped.sha256 == memory.sha256
    assert dataset_inputs(mapped, split) == dataset_inputs(memory, split)

    in_memory, of_file = (TrainingData.of(dataset, split) for dataset in (memory, mapped))
    of_file.save(tmp_path / "saved")
    in_worker = TrainingData.mapped(tmp_path / "saved", memory.classes)
    ends = [
        contents(
            train(config, data, 0, 2, None, build_model=default_builder, on_epoch=None).checkpoint
        )
        for data in (in_memory, of_file, in_worker)
    ]
    assert ends[0]["weights"] == ends[1]["weights"] == ends[2]["weights"]


def test_a_mapped_file_is_not_copied(mapped: Dataset) -> None:
    data = TrainingData.of(mapped, make_split(config_of().split, mapped))
    assert data.train.images is mapped.images
    tensor = data.train._image_tensor
    mapped.images[7, 0, 0, 0] ^= 255  # of this process's mapping alone
    assert tensor[7, 0, 0, 0] == mapped.images[7, 0, 0, 0]
    np.testing.assert_array_equal(data.train.at(np.arange(3)), mapped.images[data.train.rows[:3]])  # type: ignore[index]


def test_what_is_in_ray_s_memory_is_not_copied() -> None:
    memory = np.zeros(64 + 10 * 64 + 64, np.uint8)
    start = -memory.ctypes.data % 64  # as Ray aligns arrays, and TensorFlow wants them
    images = memory[start : start + 640].reshape(10, 8, 8, 1)
    images.flags.writeable = False
    labels = np.arange(10)
    arrays = {name: (_writable(images), labels) for name in ("train", "test")}
    data = TrainingData.of_arrays(arrays, 10)
    assert int(data.train._image_tensor[0, 0, 0, 0]) == 0
    memory[start] = 77
    assert int(data.train._image_tensor[0, 0, 0, 0]) == 77


def test_data_travel_as_plain_arrays(mapped: Dataset) -> None:
    data = TrainingData.of(mapped, make_split(config_of().split, mapped))
    there = TrainingData.of_arrays(data.arrays(), mapped.classes)
    assert there.validation is not None
    for name in ("train", "validation", "test"):
        ours, theirs = getattr(data, name), getattr(there, name)
        np.testing.assert_array_equal(ours.at(np.arange(len(ours))), theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
