"""What an image gets in an epoch depends on seed, epoch and image alone, and is what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_training import config_of

from fmnist_sweep.config.train_schema import AugmentConfig
from fmnist_sweep.training.augmentation import Augmentation
from fmnist_sweep.training.batches import ImageSet

N, HEIGHT, WIDTH = 40, 7, 9
GENERATOR = np.random.RandomState(1)
IMAGES = ImageSet(
    GENERATOR.randint(1, 256, (N, HEIGHT, WIDTH, 2)).astype(np.uint8),
    np.arange(N, dtype=np.int64) % 4,
    classes=5,
)
EVERYTHING = {
    "flip": "random", "shift": 2, "rotation": 15.0, "zoom": 0.2, "erase": 0.5, "mixup": 0.4,
    "cutmix": 1.0,
}  # fmt: skip


def augmentation(seed: int = 1, **changed: Any) -> Augmentation:
    off = config_of().train.augment.model_dump()
    return Augmentation(AugmentConfig(**off | changed), seed, N, HEIGHT, WIDTH)


def epoch_of(
    change: Augmentation,
    epoch: int = 1,
    order: NDArray[np.int64] | None = None,
    batch_size: int = 16,
    **more: Any,
) -> list[NDArray[Any]]:
    """Return images in 0..255, labels and weights of an epoch, each in the order of the set."""
    order = np.arange(N) if order is None else order
    steps = -(-N // batch_size)
    batches = IMAGES.shuffled(
        order, batch_size, steps, one_hot=True, augmentation=change, epoch=epoch, **more
    )
    parts = [np.concatenate(part) for part in zip(*batches.as_numpy_iterator(), strict=True)]
    back = np.argsort(order)
    return [parts[0][back] * 255.0, *(part[back] for part in parts[1:])]


@examples(12)
@given(order=st.permutations(range(N)), batch_size=st.integers(1, N), epoch=st.integers(1, 9))
def test_an_image_is_changed_the_same_in_any_order_and_batch(
    order: list[int], batch_size: int, epoch: int
) -> None:
    change = augmentation(**EVERYTHING)
    images, labels = epoch_of(change, epoch)
    others, their_labels = epoch_of(change, epoch, np.array(order), batch_size)
    np.testing.assert_array_equal(images, others)
    np.testing.assert_array_equal(labels, their_labels)


def test_epochs_and_seeds_differ() -> None:
    change = augmentation(**EVERYTHING)
    first, _ = epoch_of(change, 1)
    assert not np.array_equal(first, epoch_of(change, 2)[0])
    assert not np.array_equal(first, epoch_of(augmentation(2, **EVERYTHING), 1)[0])


def test_without_changes_nothing_changes() -> None:
    images, labels = epoch_of(augmentation())
    np.testing.assert_allclose(images, IMAGES.images, atol=1e-4)
    np.testing.assert_array_equal(labels, np.eye(5)[IMAGES.labels])


def test_a_part_draws_the_same_whatever_else_is_on() -> None:
    alone, together = augmentation(erase=0.5), augmentation(**EVERYTHING)
    np.testing.assert_array_equal(alone.of_epoch(3)["erase"], together.of_epoch(3)["erase"])


def test_shifted_and_mirrored_images_are_the_images_moved_by_whole_pixels() -> None:
    most = 2
    images, labels = epoch_of(augmentation(flip="random", shift=most))
    padded = np.pad(IMAGES.images, ((0, 0), (most, most), (most, most), (0, 0)))
    seen = set()
    for number, image in enumerate(np.rint(images)):
        expected = {
            (y, x, mirrored): window[:, ::-1] if mirrored else window
            for y in range(2 * most + 1)
            for x in range(2 * most + 1)
            for mirrored in (False, True)
            for window in [padded[number, y : y + HEIGHT, x : x + WIDTH]]
        }
        (which,) = [key for key, one in expected.items() if np.array_equal(one, image)]
        seen.add(which)
    assert len(seen) > 20
    assert {mirrored for *_, mirrored in seen} == {False, True}
    np.testing.assert_array_equal(labels, np.eye(5)[IMAGES.labels])


def test_alternating_flips_show_each_side_in_every_second_epoch() -> None:
    first, second, third = (
        np.rint(epoch_of(augmentation(flip="alternating"), epoch)[0]) for epoch in (1, 2, 3)
    )
    np.testing.assert_array_equal(first, third)
    np.testing.assert_array_equal(first, second[:, :, ::-1])
    unchanged = (first == IMAGES.images).all(axis=(1, 2, 3))
    assert 0.2 < unchanged.mean() < 0.8


@pytest.mark.parametrize("changed", [{"rotation": 20.0}, {"zoom": 0.3}])
def test_turned_and_zoomed_images_keep_their_centre(changed: dict[str, float]) -> None:
    images, _ = epoch_of(augmentation(**changed))
    differ = np.abs(images - IMAGES.images).max(axis=(0, 3))
    assert differ[HEIGHT // 2, WIDTH // 2] < 1.5  # the pixel in the middle; rounded
    assert differ[0, 0] > 50


def test_as_many_images_as_asked_for_have_a_black_rectangle() -> None:
    images, _ = epoch_of(augmentation(erase=0.5))
    black = (images == 0).all(axis=3)
    assert 0.3 < black.any(axis=(1, 2)).mean() < 0.7
    for image, original, there in zip(images, IMAGES.images, black, strict=True):
        rows, columns = there.any(axis=1), there.any(axis=0)
        np.testing.assert_array_equal(there, rows[:, None] & columns)  # a rectangle
        np.testing.assert_allclose(image[~there], original[~there], atol=1e-4)
    assert (epoch_of(augmentation(erase=1.0))[0] == 0).all(axis=3).any(axis=(1, 2)).all()


def test_mixed_up_images_have_their_shares_of_the_labels() -> None:
    change = augmentation(mixup=1.0)
    images, labels = epoch_of(change)
    draws = change.of_epoch(1)
    share, partner = draws["share"], draws["partner"]
    by_hand = share[:, None, None, None] * IMAGES.images
    by_hand = by_hand + (1 - share)[:, None, None, None] * IMAGES.images[partner]
    np.testing.assert_allclose(images, by_hand, atol=1e-2)
    one_hot = np.eye(5)[IMAGES.labels]
    expected = share[:, None] * one_hot + (1 - share)[:, None] * one_hot[partner]
    np.testing.assert_allclose(labels, expected, atol=1e-6)


def test_cut_images_have_the_shares_of_their_areas() -> None:
    change = augmentation(cutmix=1.0)
    images, labels = epoch_of(change)
    partner = change.of_epoch(1)["partner"]
    own = (np.abs(images - IMAGES.images) < 1e-3).all(axis=3)
    others = (np.abs(images - IMAGES.images[partner]) < 1e-3).all(axis=3)
    assert (own | others).all()
    for number in np.flatnonzero(IMAGES.labels != IMAGES.labels[partner]):
        area = own[number].mean()
        assert labels[number, IMAGES.labels[number]] == pytest.approx(area, abs=0.05)
        assert labels[number].sum() == pytest.approx(1.0)


def test_with_both_each_image_gets_one_of_them() -> None:
    draws = augmentation(mixup=0.4, cutmix=1.0).of_epoch(1)
    top, left, bottom, right = draws["cut"].T
    is_cut = (bottom > top) & (right > left)
    assert 0.2 < is_cut.mean() < 0.8
    assert (draws["mix"][is_cut] == 1).all()
    assert (draws["mix"][~is_cut] < 1).any()


def test_balanced_weights_give_each_class_the_same_weight() -> None:
    labels = np.array([0] * 12 + [1] * 3 + [2] * 5)
    images = ImageSet(np.zeros((20, 2, 2, 1), np.uint8), labels.astype(np.int64), classes=4)
    batches = images.shuffled(np.arange(20), 8, 3, one_hot=False, weigh_classes=True)
    weights = np.concatenate([weights for _, _, weights in batches.as_numpy_iterator()])
    sums = np.bincount(labels, weights)
    np.testing.assert_allclose(sums, sums.mean(), rtol=1e-6)
    assert weights.mean() == pytest.approx(1.0)


def test_a_mixed_image_has_its_share_of_both_weights() -> None:
    change = augmentation(mixup=1.0)
    _, labels, weights = epoch_of(change, weigh_classes=True)
    per_class = np.array([1.0] * 4 + [0.0])  # 10 images each of four classes
    np.testing.assert_allclose(weights, labels @ per_class, atol=1e-6)
