from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_sweep.config.data_schema import SyntheticData
from fmnist_sweep.data import FASHION_MNIST_CLASSES, Dataset, load_dataset


def drawn(**changed: Any) -> Dataset:
    settings = {
        "source": "synthetic",
        "train_size": 400,
        "test_size": 100,
        "image_size": 28,
        "noise": 0.1,
        "seed": 0,
        "limit": None,
    }
    return load_dataset(SyntheticData(**(settings | changed)))


@settings(max_examples=25, deadline=None)
@given(
    train_size=st.integers(1, 200),
    test_size=st.integers(0, 50),
    image_size=st.integers(8, 40),
    noise=st.floats(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_setting_gives_balanced_images_of_the_size_asked_for(**given: Any) -> None:
    dataset = drawn(**given)

    size = given["image_size"]
    assert dataset.images.shape == (given["train_size"], size, size, 1)
    assert dataset.images.dtype == np.uint8
    assert (dataset.official_images is None) == (given["test_size"] == 0)
    for labels in (dataset.labels, dataset.official_labels):
        if labels is not None:
            counts = np.bincount(labels, minlength=10)
            assert counts.max() - counts.min() <= 1
    assert dataset.synthetic
    assert dataset.name == "synthetic"
    assert dataset.class_names == FASHION_MNIST_CLASSES
    assert drawn(**given).sha256 == dataset.sha256


def test_the_drawings_are_the_same_on_every_machine() -> None:
    pinned = "0a97ea65b25dfdd1012314ace21177c7e0d267544de8b8333e658e84c4ec3f86"
    assert drawn().sha256 == pinned


def test_seeds_differ_and_the_training_images_ignore_the_official_ones() -> None:
    one, other = drawn(seed=1), drawn(seed=2)
    assert one.sha256 != other.sha256
    assert np.array_equal(one.images, drawn(seed=1, test_size=0).images)
    assert one.official_images is not None
    assert not np.array_equal(one.images[:100], one.official_images)


def test_labels_are_shuffled_and_no_two_images_are_alike() -> None:
    dataset = drawn(noise=0.0)
    assert (np.diff(dataset.labels) < 0).sum() > 100
    assert len(np.unique(dataset.images.reshape(400, -1), axis=0)) == 400


def test_numpys_global_generator_is_left_alone() -> None:
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    drawn()
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("image_size", [8, 28, 64])
def test_the_classes_can_be_told_apart_but_not_at_a_glance(image_size: int) -> None:
    """The nearest class mean, the simplest classifier, is far above chance and far from done."""
    dataset = drawn(train_size=2000, test_size=1000, image_size=image_size)
    assert dataset.official_images is not None
    means = np.stack([dataset.images[dataset.labels == c].mean(axis=0) for c in range(10)])
    distances = [np.square(dataset.official_images - mean).sum(axis=(1, 2, 3)) for mean in means]
    accuracy = (np.argmin(distances, axis=0) == dataset.official_labels).mean()
    assert 0.5 < accuracy < 0.9
