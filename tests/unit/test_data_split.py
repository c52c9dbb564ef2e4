from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import (
    BalancedSplit,
    FashionMnistData,
    HeldOut,
    OfficialSplit,
    WrapperSplit,
)
from fmnist_sweep.data import Dataset, Split, balanced_test_split, load_dataset, make_split
from fmnist_sweep.data.split_report import indices_npz, split_table
from fmnist_sweep.errors import ConfigError, DataError


def dataset_of(labels: Any, official: Any = None, classes: int | None = None) -> Dataset:
    """A dataset of 1x1 images whose pixels tell which image is which."""
    labels = np.asarray(labels, np.int64)
    names = tuple("abcdefghij"[: classes or labels.max() + 1])
    pixels = np.arange(len(labels)).astype(np.uint8).reshape(-1, 1, 1, 1)
    if official is None:
        return Dataset("tiny", "memory", pixels, labels, None, None, names)
    official = np.asarray(official, np.int64)
    seen = (255 - np.arange(len(official))).astype(np.uint8).reshape(-1, 1, 1, 1)
    return Dataset("tiny", "memory", pixels, labels, seen, official, names)


def test_labels_that_no_class_has_are_refused() -> None:
    with pytest.raises(DataError, match=r"memory: labels contain 3; allowed: 0\.\.2 for 3 classes"):
        dataset_of([0, 1, 2, 3], classes=3)
    with pytest.raises(DataError, match=r"memory: official_labels contain -1; allowed: 0\.\.2"):
        dataset_of([0, 1, 2], official=[0, -1])
    one = dataset_of([0, 1, 2])
    with pytest.raises(DataError, match="memory: 2 labels for 3 images"):
        replace(one, labels=one.labels[:2])


def balanced(validation: float, test: float, seed: int = 1) -> BalancedSplit:
    return BalancedSplit(scheme="balanced", validation=validation, test=test, seed=seed)


def wrapper(test: int, seed: int = 27) -> WrapperSplit:
    return WrapperSplit(scheme="wrapper", test=test, seed=seed)


def official(fraction: float | None = None, take: Any = "last") -> OfficialSplit:
    held_out = None if fraction is None else HeldOut(fraction=fraction, take=take)
    return OfficialSplit(scheme="official", validation=held_out)


@pytest.fixture(scope="module")
def real() -> Dataset:
    return load_dataset(FashionMnistData(source="fashion_mnist", dir=None, limit=None))


@st.composite
def labelled(draw: st.DrawFn, least: int = 1) -> NDArray[np.int64]:
    """Labels of 2 to 6 classes in any order and any proportion."""
    counts = draw(st.lists(st.integers(least, 30), min_size=2, max_size=6))
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.RandomState(draw(st.integers(0, 10**6))).shuffle(labels)
    return labels


def assert_disjoint_and_complete(split: Split, dataset: Dataset) -> None:
    sets = {("train", tuple(split.train)), (split.test_pool, tuple(split.test))}
    if split.validation is not None:
        sets.add((split.validation_pool, tuple(split.validation)))
    for pool in ("train", "official"):
        parts = [set(indices) for used, indices in sets if used == pool]
        for one, other in combinations(parts, 2):
            assert not one & other
    in_training_pool = [index for pool, indices in sets if pool == "train" for index in indices]
    assert sorted(in_training_pool) == list(range(len(dataset.labels)))


# --- balanced ---------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    labels=labelled(least=3), seed=st.integers(0, 2**32 - 1), shares=st.data(), fresh=st.booleans()
)
def test_a_balanced_split_is_disjoint_balanced_complete_and_stable(
    labels: NDArray[np.int64], seed: int, shares: st.DataObject, fresh: bool
) -> None:
    dataset = dataset_of(labels)
    fewest, classes = np.bincount(labels).min(), dataset.classes
    test_share = shares.draw(st.integers(1, int(fewest) - 1))
    validation_share = shares.draw(st.integers(1, int(fewest) - test_share))
    assume(classes * (test_share + validation_share) < len(labels))
    config = balanced(classes * validation_share, classes * test_share, seed)

    split = make_split(config, dataset)

    assert_disjoint_and_complete(split, dataset)
    assert np.bincount(labels[split.test]).tolist() == [test_share] * classes
    assert split.validation is not None
    assert np.bincount(labels[split.validation]).tolist() == [validation_share] * classes
    for indices in (split.train, split.validation, split.test):
        assert np.all(np.diff(indices) > 0)
    again = make_split(config, dataset_of(labels.copy()))
    assert again.sha256 == split.sha256
    # The test set is the same whatever validates.
    other = make_split(balanced(classes, classes * test_share, seed), dataset)
    assert np.array_equal(other.test, split.test)


def test_the_default_on_the_real_data(real: Dataset) -> None:
    split = make_split(balanced(5000, 5000), real)

    assert_disjoint_and_complete(split, real)
    for part, each in ((split.train, 5000), (split.validation, 500), (split.test, 500)):
        assert np.bincount(real.labels[part]).tolist() == [each] * 10
    assert split.sha256 != make_split(balanced(5000, 5000, seed=2), real).sha256
    looked_at = split.official_set(real)
    assert looked_at is not None
    assert looked_at[0] is real.official_images


@pytest.mark.parametrize(
    ("fraction", "images"),
    [(0.1, 6000), (0.29, 17400), (0.0835, 5010), (0.00033, 10), (0.000499, 20)],
)
def test_a_fraction_is_rounded_down_to_a_multiple_of_the_classes(
    real: Dataset, fraction: float, images: int
) -> None:
    split = make_split(balanced(10, fraction), real)
    assert np.bincount(real.labels[split.test]).tolist() == [images // 10] * 10


LABELS = [0] * 10 + [1] * 6 + [2] * 8


@pytest.mark.parametrize(
    ("config", "labels", "message"),
    [
        (
            balanced(3, 4),
            LABELS,
            "split.test=4 with split.validation=3: 4 is not divisible by the 3 classes; allowed: "
            "multiples of 3 up to 15",
        ),
        (balanced(4, 3), LABELS, "split.validation=4 with split.test=3: 4 is not divisible"),
        (
            balanced(3, 21),
            LABELS,
            "split.test=21 with split.validation=3: class b has only 6 of the training images; "
            "allowed: multiples of 3 up to 15",
        ),
        (
            balanced(9, 12),
            LABELS,
            "split.validation=9 with split.test=12: .* multiples of 3 up to 6",
        ),
        (
            balanced(6, 6),
            [0, 1, 2] * 4,
            "split.validation=6 with split.test=6: 12 is the number of all training images; "
            "allowed: 3",
        ),
        (
            balanced(3, 0.1),
            LABELS,
            r"split.test=0.1 \(0 images\) with split.validation=3: that is ",
        ),
        (balanced(0.1, 3), LABELS, "less than one of each of the 3 classes; allowed: multiples"),
        (
            balanced(5000, 5000),
            LABELS,
            "split.test=5000 and split.validation=5000: 5000 is not divisible by the 3 classes; "
            "allowed: multiples of 3, together at most 18, such as split.test=9 split.validation=9",
        ),
        (
            balanced(3, 3),
            [0, 0, 1, 1, 2],
            "class c has only 1 .* needed: at least 3 images of each",
        ),
        (wrapper(4), LABELS, "split.test=4: 4 is not divisible by the 3 classes; allowed"),
        (wrapper(21), LABELS, "split.test=21: class b has only 6 .* multiples of 3 up to 18"),
        (
            wrapper(12),
            [0, 1, 2] * 4,
            "split.test=12: 12 is the number of all .* multiples of 3 up to 9",
        ),
        (
            official(0.01),
            LABELS,
            "split.validation.fraction=0.01 of 24 training images is less .* at least 0.04167",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(config: Any, labels: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_split(config, dataset_of(labels, official=[0, 1, 2]))


@pytest.mark.parametrize("config", [balanced(4, 4), wrapper(4)])
def test_a_class_without_images_is_refused_by_name(config: Any) -> None:
    dataset = dataset_of([0, 2, 3] * 5, official=[0], classes=4)
    with pytest.raises(
        ConfigError, match=r"split\.test=4.*: class b has only 0 .* needed: at least"
    ):
        make_split(config, dataset)


# --- wrapper and official ---------------------------------------------------------------------


def test_the_wrappers_split_is_the_articles(real: Dataset) -> None:
    split = make_split(wrapper(10000), real)

    assert_disjoint_and_complete(split, real)
    frame = pd.DataFrame({"label": real.labels, "row": np.arange(60000)})
    train, test = articles_procedure(frame, 10000, 27)
    assert np.array_equal(split.test, test["row"])
    assert np.array_equal(split.train, train["row"])
    assert split.validation_pool == "official"
    assert np.array_equal(split.validation, np.arange(10000))
    assert split.official_set(real) is None


@settings(max_examples=50, deadline=None)
@given(labels=labelled(least=2), seed=st.integers(0, 2**32 - 1))
def test_the_wrappers_split_is_the_tables_split(labels: NDArray[np.int64], seed: int) -> None:
    dataset = dataset_of(labels, official=[0, 1])
    size = dataset.classes
    frame = pd.DataFrame({"label": labels, "row": np.arange(len(labels))})

    split = make_split(wrapper(size, seed), dataset)

    train, test = balanced_test_split(frame, size, seed)
    assert np.array_equal(split.test, test["row"])
    assert np.array_equal(split.train, train["row"])


def test_the_official_split_and_its_held_out_part(real: Dataset) -> None:
    whole = make_split(official(), real)
    assert np.array_equal(whole.train, np.arange(60000))
    assert whole.validation is None
    assert whole.validation_set(real) is None
    assert np.array_equal(whole.test, np.arange(10000))
    assert whole.test_pool == "official"
    assert whole.official_set(real) is None

    last = make_split(official(0.3, "last"), real)
    assert np.array_equal(last.train, np.arange(42000))
    assert np.array_equal(last.validation, np.arange(42000, 60000))
    first = make_split(official(0.3, "first"), real)
    assert np.array_equal(first.validation, np.arange(18000))
    assert np.array_equal(first.train, np.arange(18000, 60000))
    for split in (whole, last, first):
        assert_disjoint_and_complete(split, real)
    assert len({split.sha256 for split in (whole, last, first)}) == 3


@settings(deadline=None)
@given(hundredths=st.integers(1, 99), take=st.sampled_from(["first", "last"]))
def test_a_held_out_fraction_is_taken_as_written(hundredths: int, take: str) -> None:
    # In binary 0.29 * 100 is 28.999…; a user who writes 0.29 of 100 images means 29.
    dataset = dataset_of([0, 1] * 50, official=[0, 1])
    split = make_split(official(hundredths / 100, take), dataset)
    assert split.validation is not None
    assert len(split.validation) == hundredths
    assert_disjoint_and_complete(split, dataset)


@pytest.mark.parametrize("config", [wrapper(2), official()])
def test_a_split_that_needs_official_images_says_so(config: Any) -> None:
    with pytest.raises(DataError, match=f"split.scheme={config.scheme} needs an official test set"):
        make_split(config, dataset_of([0, 1] * 5))


# --- what a split gives -----------------------------------------------------------------------


def test_sets_hold_the_images_and_labels_of_their_pool() -> None:
    dataset = dataset_of([0, 1, 1, 0], official=[1, 0])
    split = Split("any", np.array([2, 0]), np.array([1]), np.array([1, 0]), test_pool="official")

    def pixels_and_labels(part: Any) -> tuple[list[int], list[int]]:
        return part[0].ravel().tolist(), part[1].tolist()

    assert pixels_and_labels(split.train_set(dataset)) == ([2, 0], [1, 0])
    assert pixels_and_labels(split.validation_set(dataset)) == ([1], [1])
    assert pixels_and_labels(split.test_set(dataset)) == ([254, 255], [0, 1])
    with pytest.raises(DataError, match="tiny has none"):
        split.test_set(dataset_of([0, 1, 1, 0]))
    assert make_split(balanced(2, 2), dataset_of([0, 1] * 5)).official_set(dataset) is not None
    assert split.official_set(dataset) is None


def test_the_digest_covers_indices_and_pools_but_not_the_name() -> None:
    train, some, other = np.arange(4), np.array([5, 6]), np.array([7])
    split = Split("one", train, some, other)

    assert Split("two", train, some.astype(np.int32), other).sha256 == split.sha256
    others = [
        Split("one", train[::-1], some, other),
        Split("one", train, None, other),
        Split("one", train, other, some),
        Split("one", train, some, other, test_pool="official"),
        Split("one", train, some, other, validation_pool="official"),
        Split("one", np.arange(5), some, other),
        Split("one", train, np.array([5]), np.array([6, 7])),
    ]
    assert len({split.sha256} | {other.sha256 for other in others}) == len(others) + 1


def test_the_table_counts_each_class_and_the_file_holds_the_indices(tmp_path: Path) -> None:
    dataset = dataset_of(LABELS, official=[2, 0, 2])

    split = make_split(balanced(3, 6), dataset)
    table = split_table(split, dataset)
    assert table.index.tolist() == ["a", "b", "c"]
    assert table.to_dict("list") == {"train": [7, 3, 5], "validation": [1] * 3, "test": [2] * 3}
    unvalidated = split_table(make_split(official(), dataset), dataset)
    assert unvalidated["validation"].tolist() == [0, 0, 0]
    assert unvalidated["test"].tolist() == [1, 0, 2]

    for saved_split in (split, make_split(official(), dataset)):
        with np.load(io.BytesIO(indices_npz(saved_split))) as saved:
            assert ("validation" in saved) == (saved_split.validation is not None)
            rebuilt = Split(
                saved_split.scheme,
                saved["train"],
                saved.get("validation"),
                saved["test"],
                str(saved["validation_pool"]),
                str(saved["test_pool"]),
            )
        assert rebuilt.sha256 == saved_split.sha256


# --- balanced_test_split ----------------------------------------------------------------------


def articles_procedure(df: pd.DataFrame, size: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The procedure as its description has it, on NumPy's global generator."""
    state = np.random.get_state()
    np.random.seed(seed)
    labels = list(dict.fromkeys(df["label"]))
    drawn: list[Any] = []
    for label in labels:
        candidates = df[df["label"] == label].index.values
        drawn.extend(np.random.choice(candidates, size // len(labels), replace=False))
    np.random.set_state(state)
    return df.drop(drawn), df.loc[drawn].reset_index(drop=True)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    labels=labelled(least=3),
    seed=st.integers(0, 2**32 - 1),
    share=st.integers(1, 3),
    index=st.sampled_from(["range", "shuffled", "text"]),
    text=st.booleans(),
)
def test_a_table_is_split_by_the_articles_procedure(
    labels: NDArray[np.int64], seed: int, share: int, index: str, text: bool
) -> None:
    frame = pd.DataFrame({"label": labels, "pixel1": np.arange(len(labels))})
    frame["str_label"] = [f"class {label}" for label in labels]
    if text:
        frame["label"] = frame["str_label"]
    if index != "range":
        frame = frame.sample(frac=1, random_state=1)
    if index == "text":
        frame.index = pd.Index([f"row {i}" for i in frame.index])
    size = share * len(np.unique(labels))
    given, state = frame.copy(), np.random.get_state()[1].copy()

    train, test = balanced_test_split(frame, size, seed)

    expected_train, expected_test = articles_procedure(frame, size, seed)
    pd.testing.assert_frame_equal(train, expected_train)
    pd.testing.assert_frame_equal(test, expected_test)
    assert set(test["label"].value_counts()) == {share}
    pd.testing.assert_frame_equal(frame, given)
    assert np.array_equal(np.random.get_state()[1], state)


def test_the_defaults_are_the_articles(real: Dataset) -> None:
    frame = pd.DataFrame({"label": real.labels})
    train, test = balanced_test_split(frame)
    expected_train, expected_test = articles_procedure(frame, 10000, 27)
    pd.testing.assert_frame_equal(train, expected_train)
    pd.testing.assert_frame_equal(test, expected_test)


FRAME = pd.DataFrame({"label": ["x", "y", "x", "y", "x"]})


@pytest.mark.parametrize(
    ("change", "size", "error", "message"),
    [
        (
            lambda df: df,
            3,
            ConfigError,
            "size=3: 3 is not divisible by the 2 classes; allowed: mult",
        ),
        (lambda df: df, 0, ConfigError, "size=0: that is less than one of each of the 2 classes"),
        (lambda df: df, -2, ConfigError, "size=-2: that is less"),
        (lambda df: df, 6, ConfigError, "size=6: class y has only 2 .* multiples of 2 up to 4"),
        (lambda df: df[:0], 2, ConfigError, "size=2: there are no classes"),
        (lambda df: df.rename(columns={"label": "y"}), 2, DataError, "no column label; it has: y"),
        (lambda df: df.set_axis([0, 1, 2, 1, 3]), 2, DataError, "index contains 1 more than once"),
        (lambda df: df.replace("y", None), 2, DataError, "label in row 1 .* is missing"),
    ],
)
def test_a_table_that_cannot_be_split_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    size: int,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        balanced_test_split(change(FRAME), size)
