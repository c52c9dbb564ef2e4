"""The sizes that a refusal of a split names are the largest that would do."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_data_split import balanced, dataset_of, wrapper
from test_data_split_stratified import RARE, labels_with, stratified

from fmnist_sweep.data import make_split
from fmnist_sweep.errors import ConfigError


def refusal_of(config: Any, labels: Any) -> str | None:
    try:
        make_split(config, dataset_of(labels, official=[0]))
    except ConfigError as error:
        message = str(error)
        assert "\n" not in message
        return message
    return None


def advised(message: str) -> list[dict[str, int]]:
    """The sizes that a message names, and sizes that are one step too large."""
    such = re.search(r"such as (.*)$", message)
    step = int(found[1]) if (found := re.search(r"multiples of (\d+)", message)) else 1
    if such is not None:
        best = {key: int(n) for key, n in re.findall(r"split\.(\w+)=(\d+)", such[1])}
        return [best, *({**best, key: number + step} for key, number in best.items())]
    last = re.search(r"allowed: .*?(\d+)$", message)
    key = re.match(r"split\.(\w+)=", message)
    assert last is not None, message
    assert key is not None, message
    return [{key[1]: int(last[1])}, {key[1]: int(last[1]) + step}]


SIZES = st.one_of(st.integers(1, 200), st.floats(0.01, 0.99).map(lambda part: round(part, 2)))


@settings(max_examples=300, deadline=None)
@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    scheme=st.sampled_from([balanced, stratified]),
    test=SIZES,
    validation=SIZES,
)
def test_what_a_refusal_names_works_and_more_does_not(
    counts: list[int], scheme: Any, test: float, validation: float
) -> None:
    labels = labels_with(counts, 1)
    config = scheme(validation, test)
    message = refusal_of(config, labels)
    if message is None:
        return
    needed = re.search(r"needed: at least (\d+) images of each class$", message)
    if needed is not None:
        enough = labels_with([max(count, int(needed[1])) for count in counts], 1)
        assert "needed" not in (refusal_of(config, enough) or "")
        return
    best, *too_large = advised(message)
    assert refusal_of(config.model_copy(update=best), labels) is None
    for sizes in too_large:
        assert refusal_of(config.model_copy(update=sizes), labels) is not None


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4), test=st.integers(1, 60))
def test_the_wrappers_split_names_its_largest_test_set(counts: list[int], test: int) -> None:
    labels = labels_with(counts, 1)
    message = refusal_of(wrapper(test), labels)
    if message is not None and "needed" not in message:
        best, more = advised(message)
        assert refusal_of(wrapper(best["test"]), labels) is None
        assert refusal_of(wrapper(more["test"]), labels) is not None


FIFTY = np.repeat(np.arange(10), 5)
ONE_CLASS = np.zeros(40, np.int64)


@pytest.mark.parametrize("labels", [RARE, FIFTY, ONE_CLASS], ids=["rare", "fifty", "one class"])
@pytest.mark.parametrize("scheme", [balanced, stratified])
@pytest.mark.parametrize("size", [0.1, 5000])
def test_small_and_unbalanced_data_are_split_or_told_how(
    labels: Any, scheme: Any, size: float
) -> None:
    config = scheme(size, size)
    message = refusal_of(config, labels)
    if message is not None:
        config = config.model_copy(update=advised(message)[0])
    assert refusal_of(config, labels) is None


def test_the_default_split_of_little_data_is_refused_once() -> None:
    """A class with 14 images, and the shipped sizes: one refusal names two sizes that do."""
    labels = np.repeat(np.arange(7), [670, 200, 90, 60, 40, 14, 20])
    message = refusal_of(balanced(5000, 5000), labels)
    assert message is not None
    assert message.endswith(
        "multiples of 7, together at most 98, such as split.test=49 split.validation=49"
    )
