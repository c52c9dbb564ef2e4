"""`split=kfold`: a stratified test set, and folds that divide the rest."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_split import dataset_of
from test_data_split_refusals import FIFTY, ONE_CLASS, refusal_of
from test_data_split_stratified import RARE, labels_with

from fmnist_sweep.config.data_schema import KfoldSplit
from fmnist_sweep.data import make_split
from fmnist_sweep.data.split_report import indices_npz
from fmnist_sweep.errors import ConfigError


def kfold(folds: int, test: float, repeats: int = 1, seed: int = 1) -> KfoldSplit:
    return KfoldSplit(scheme="kfold", folds=folds, repeats=repeats, test=test, seed=seed)


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(3, 40), min_size=1, max_size=6),
    repeats=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    drawn=st.data(),
)
def test_folds_divide_what_is_not_test_and_each_class_evenly(
    counts: list[int], repeats: int, seed: int, drawn: st.DataObject
) -> None:
    folds = drawn.draw(st.integers(2, min(counts) - 1))
    test = drawn.draw(st.integers(len(counts), sum(counts) - folds * len(counts)))
    dataset = dataset_of(labels_with(counts, seed))
    config = kfold(folds, test, repeats, seed)

    split = make_split(config, dataset)

    assert split.validation is None
    assert split.images == {"train": sum(counts) - test, "validation": 0, "test": test}
    assert sorted([*split.train, *split.test]) == list(range(sum(counts)))
    assert len(split.folds) == folds * repeats
    for start in range(0, len(split.folds), folds):
        of_repeat = split.folds[start : start + folds]
        held_out = np.concatenate([fold.validation for fold in of_repeat])
        assert sorted(held_out) == list(split.train)
        sizes = [len(fold.validation) for fold in of_repeat]
        assert max(sizes) - min(sizes) <= 1
        shares = np.array(
            [np.bincount(dataset.labels[f.validation], minlength=len(counts)) for f in of_repeat]
        )
        assert (np.ptp(shares, axis=0) <= 1).all()
        assert (shares >= 1).all()
        for fold in of_repeat:
            assert sorted([*fold.train, *fold.validation]) == list(split.train)
    assert make_split(config, dataset).sha256 == split.sha256
    more = make_split(kfold(folds, test, repeats + 1, seed), dataset)
    assert more.sha256 != split.sha256
    assert np.array_equal(more.test, split.test)
    assert np.array_equal(more.folds[0].validation, split.folds[0].validation)


def advised(message: str) -> list[dict[str, int]]:
    """What a message names, and the same with one more."""
    such = re.search(r"such as (.*)$", message)
    last = re.search(r"allowed: .*?(\d+)$", message)
    key = re.match(r"split\.(\w+)=", message)
    if such is not None:
        best = {key: int(number) for key, number in re.findall(r"split\.(\w+)=(\d+)", such[1])}
    else:
        assert last is not None, message
        assert key is not None, message
        best = {key[1]: int(last[1])}
    return [best, *({**best, key: number + 1} for key, number in best.items())]


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    folds=st.integers(2, 14),
    test=st.one_of(st.integers(1, 80), st.floats(0.01, 0.99).map(lambda part: round(part, 2))),
)
def test_what_a_refusal_names_works_and_more_does_not(
    counts: list[int], folds: int, test: float
) -> None:
    labels, config = labels_with(counts, 1), kfold(folds, test)
    message = refusal_of(config, labels)
    if message is None:
        return
    if "needed: at least 3 images of each class" in message:
        enough = labels_with([max(count, 3) for count in counts], 1)
        assert "needed" not in (refusal_of(config, enough) or "")
        return
    best, *more = advised(message)
    assert refusal_of(config.model_copy(update=best), labels) is None
    for values in more:
        assert refusal_of(config.model_copy(update=values), labels) is not None


@pytest.mark.parametrize("labels", [RARE, FIFTY, ONE_CLASS], ids=["rare", "fifty", "one class"])
@pytest.mark.parametrize("folds", [3, 20])
def test_small_and_unbalanced_data_are_divided_or_told_how(labels: Any, folds: int) -> None:
    config = kfold(folds, 0.1)
    message = refusal_of(config, labels)
    if message is not None:
        config = config.model_copy(update=advised(message)[0])
    assert refusal_of(config, labels) is None


def test_too_many_folds_of_a_rare_class_are_refused_by_name() -> None:
    message = refusal_of(kfold(12, 70), RARE)
    assert message == (
        "split.folds=12: class g has only 11 of the training images, one or more for the test set "
        "and one for each fold, with split.test=70; allowed: 2 to 10"
    )


def test_validation_images_of_the_datas_own_are_refused() -> None:
    dataset = dataset_of(RARE)
    own = replace(
        dataset, validation_images=dataset.images[:5], validation_labels=dataset.labels[:5]
    )
    with pytest.raises(ConfigError, match=r"kfold validates on .* tiny has validation images"):
        make_split(kfold(3, 0.1), own)


def test_the_file_of_indices_has_the_folds() -> None:
    split = make_split(kfold(3, 0.1, repeats=2), dataset_of(RARE))
    with np.load(io.BytesIO(indices_npz(split))) as saved:
        numbers = saved["folds"]
    assert numbers.shape == (2, len(split.train))
    for place, fold in enumerate(split.folds):
        chosen = split.train[numbers[place // 3] == place % 3]
        assert np.array_equal(chosen, fold.validation)
