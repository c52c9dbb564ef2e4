"""`split=stratified`: each class has its share of each set, and at least one image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_data_split import assert_disjoint_and_complete, dataset_of

from fmnist_sweep.config.data_schema import StratifiedSplit
from fmnist_sweep.data import make_split
from fmnist_sweep.errors import ConfigError

RARE = np.repeat(np.arange(7), [670, 200, 90, 60, 40, 20, 11])


def stratified(validation: float, test: float, seed: int = 1) -> StratifiedSplit:
    return StratifiedSplit(scheme="stratified", validation=validation, test=test, seed=seed)


def labels_with(counts: list[int], seed: int) -> NDArray[np.int64]:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.RandomState(seed).permutation(labels).astype(np.int64)


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(3, 60), min_size=1, max_size=8),
    seed=st.integers(0, 2**32 - 1),
    sizes=st.data(),
)
def test_each_class_has_its_share_rounded_and_at_least_one(
    counts: list[int], seed: int, sizes: st.DataObject
) -> None:
    classes, total = len(counts), sum(counts)
    test = sizes.draw(st.integers(classes, total - 2 * classes))
    dataset = dataset_of(labels_with(counts, seed))
    of_test = np.bincount(
        dataset.labels[make_split(stratified(classes, test, seed), dataset).test],
        minlength=classes,
    )
    validation = sizes.draw(st.integers(classes, total - test - classes))
    split = make_split(stratified(validation, test, seed), dataset)

    assert_disjoint_and_complete(split, dataset)
    assert split.validation is not None
    assert split.images == {
        "train": total - test - validation, "validation": validation, "test": test
    }  # fmt: skip
    for indices in (split.train, split.validation, split.test):
        assert (np.bincount(dataset.labels[indices], minlength=classes) >= 1).all()
    # The test set is the same whatever validates.
    assert np.bincount(dataset.labels[split.test], minlength=classes).tolist() == of_test.tolist()
    wanted = test * np.array(counts) / total
    if (wanted >= 1).all() and (wanted <= np.array(counts) - 2).all():
        assert (np.abs(of_test - wanted) < 1).all()
    assert make_split(stratified(validation, test, seed), dataset).sha256 == split.sha256


def test_rare_classes_are_in_every_set() -> None:
    split = make_split(stratified(0.1, 0.1), dataset_of(RARE))
    assert split.images == {"train": 873, "validation": 109, "test": 109}
    shares = np.bincount(RARE[split.test])
    assert shares.tolist() == [67, 20, 9, 6, 4, 2, 1]


@pytest.mark.parametrize(
    ("counts", "validation", "test", "message"),
    [
        (
            [5, 2],
            2,
            2,
            "split.test=2 split.validation=2: class b has only 2 of the training images; "
            "needed: at least 3 images of each class",
        ),
        (
            [5, 5],
            2,
            7,
            "split.test=7 with split.validation=2: of 10 training images of 2 classes at least 1 "
            "of each class is left; allowed: 2 to 6",
        ),
        (
            [5, 5],
            5,
            4,
            "split.validation=5 with split.test=4: of 10 training images of 2 classes at least 1 "
            "of each class is left; allowed: 2 to 4",
        ),
        (
            [5, 5],
            2,
            1,
            "split.test=1 with split.validation=2: that is less than one of each of the 2 classes; "
            "allowed: 2 to 6",
        ),
    ],
)
def test_what_cannot_be_says_what_can(
    counts: list[int], validation: int, test: int, message: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        make_split(stratified(validation, test), dataset_of(labels_with(counts, 1)))
    assert str(refusal.value) == message
