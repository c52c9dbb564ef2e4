from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_material import check_picture, drawn_winner
from hypothesis import given
from hypothesis import strategies as st

from fmnist_sweep.metrics import expected_calibration_error
from fmnist_sweep.pictures.calibration import calibration
from fmnist_sweep.pictures.style import NothingToShow


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 200), st.integers(1, 30))
def test_the_error_lies_between_0_and_1(seed: int, classes: int, n: int, bins: int) -> None:
    draws = np.random.default_rng(seed)
    probabilities = draws.dirichlet(np.full(classes, 0.4), n)
    labels = draws.integers(0, classes, n)
    assert 0.0 <= expected_calibration_error(probabilities, labels, bins) <= 1.0


@given(st.integers(0, 1000), st.integers(2, 10))
def test_labels_drawn_with_the_stated_probabilities_are_calibrated(seed: int, classes: int) -> None:
    draws = np.random.default_rng(seed)
    probabilities = draws.dirichlet(np.full(classes, 0.5), 20_000)
    sums = probabilities.cumsum(axis=1)
    labels = (draws.random((20_000, 1)) > sums).sum(axis=1).clip(max=classes - 1)
    assert expected_calibration_error(probabilities, labels) < 0.03


def test_sure_and_always_wrong_is_an_error_of_1_and_always_right_of_0() -> None:
    probabilities = np.tile([1.0, 0.0], (50, 1))
    assert expected_calibration_error(probabilities, np.ones(50, np.int64)) == 1.0
    assert expected_calibration_error(probabilities, np.zeros(50, np.int64)) == 0.0


def test_bins_are_closed_above() -> None:
    """0.6 belongs to the bin up to 0.6, so that one right answer of 0.55 and one wrong of 0.6 are
    averaged, while two bins would each be off by their own distance."""
    probabilities = np.array([[0.55, 0.45], [0.6, 0.4]])
    error = expected_calibration_error(probabilities, np.array([0, 1]), bins=5)
    assert error == pytest.approx(abs(0.5 - 0.575))


def test_no_answers_have_no_error() -> None:
    with pytest.raises(ValueError, match="0 predictions"):
        expected_calibration_error(np.zeros((0, 3)), np.zeros(0, np.int64))


@pytest.mark.parametrize("classes", [2, 10, pytest.param(100, marks=pytest.mark.release)])
def test_the_title_has_the_error_and_the_foot_its_source(classes: int) -> None:
    winner = drawn_winner(classes)
    texts = check_picture(calibration(winner))
    error = expected_calibration_error(winner.probabilities, winner.labels)
    assert any(f"{error:.3f}" in text for text in texts)
    assert any("Guo et al., 2017" in text for text in texts)


def test_nothing_to_show() -> None:
    winner = drawn_winner(3)
    with pytest.raises(NothingToShow):
        calibration(replace(winner, labels=winner.labels[:0]))
