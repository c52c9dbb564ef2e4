from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_material import check_picture, drawn_data

from fmnist_sweep.pictures.data import augmented_samples, class_distribution, samples
from fmnist_sweep.pictures.images import on_screen
from fmnist_sweep.pictures.style import NothingToShow


@pytest.mark.parametrize(
    ("classes", "channels"),
    [(2, 3), (10, 1), pytest.param(100, 4, marks=pytest.mark.release), (11, 2)],
)
def test_samples_of_any_number_of_classes_and_channels(classes: int, channels: int) -> None:
    texts = check_picture(samples(drawn_data(classes, channels)))
    assert "Samples of $data_1$" in texts
    assert "$x_1^2$" in texts


@pytest.mark.parametrize("classes", [2, 10, pytest.param(100, marks=pytest.mark.release)])
def test_each_set_has_a_panel_with_its_size_and_every_count(classes: int) -> None:
    data = drawn_data(classes)
    texts = check_picture(class_distribution(data))
    for name, counts in data.counts.items():
        assert f"{name}, n = {counts.sum():,}" in texts
        assert {f"{count:,}" for count in counts} <= set(texts)


def test_the_official_test_set_is_named_in_words() -> None:
    data = replace(drawn_data(3), counts={"official_test": np.array([1, 2, 3])})
    assert "official test, n = 6" in check_picture(class_distribution(data))


def test_synthetic_data_is_called_synthetic() -> None:
    texts = check_picture(samples(replace(drawn_data(3), synthetic=True)))
    assert any("synthetic" in text for text in texts)


def test_nothing_to_show() -> None:
    with pytest.raises(NothingToShow, match="samples"):
        samples(replace(drawn_data(3), samples=np.zeros((3, 0, 8, 8, 1), np.uint8)))
    with pytest.raises(NothingToShow, match="no sets"):
        class_distribution(replace(drawn_data(3), counts={}))


def test_images_of_any_number_of_channels_become_a_colour_or_a_grey() -> None:
    image = np.arange(4 * 5 * 4, dtype=np.uint8).reshape(4, 5, 4)
    assert np.array_equal(on_screen(image), image[:, :, :3])
    assert np.array_equal(on_screen(image[:, :, :3]), image[:, :, :3])
    assert np.array_equal(on_screen(image[:, :, :1]), np.repeat(image[:, :, :1], 3, axis=2))
    assert np.array_equal(on_screen(image[:, :, ::2])[:, :, 0], image[:, :, 1])


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_are_under_the_images_that_they_come_from(channels: int) -> None:
    images = np.random.RandomState(1).randint(0, 256, (4, 3, 8, 10, channels)).astype(np.uint8)
    texts = check_picture(augmented_samples(images))
    assert "first row: as they are" in texts
