"""The registry of metrics, and its functions against scikit-learn's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

import fmnist_sweep
from fmnist_sweep.config import metrics
from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.upgrade import upgraded
from fmnist_sweep.errors import ConfigError

NAMES = ["accuracy", "loss", "balanced_accuracy", "macro_f1", "top3_accuracy", "ece"]
Set = tuple[NDArray[np.float64], NDArray[np.int64]]


@st.composite
def sets(draw: st.DrawFn, least_classes: int = 2) -> Set:
    """Probabilities and labels of a set, of which some classes may have no image and no
    prediction; probabilities may be equal."""
    classes = draw(st.integers(least_classes, 12))
    count = draw(st.integers(1, 60))
    draws = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    there = draws.integers(1, classes + 1)
    labels = draws.permutation(classes)[draws.integers(0, there, count)]
    if draw(st.booleans()):
        probabilities = draws.dirichlet(np.full(classes, 0.3), count)
    else:
        parts = draws.integers(1, 4, (count, classes)).astype(np.float64)
        probabilities = parts / parts.sum(axis=1, keepdims=True)
    # As a network gives them.
    return probabilities.astype(np.float32).astype(np.float64), labels.astype(np.int64)


def value(name: str, of: Set) -> float:
    return metrics.metric_of(name).function(*of)


@given(sets())
def test_accuracies_and_f1_are_scikit_learns(given_set: Set) -> None:
    probabilities, labels = given_set
    predicted = probabilities.argmax(axis=1)
    there = np.unique(labels)
    recalls = sklearn_metrics.recall_score(labels, predicted, labels=there, average=None)
    assert value("accuracy", given_set) == sklearn_metrics.accuracy_score(labels, predicted)
    assert value("balanced_accuracy", given_set) == pytest.approx(np.mean(recalls))
    # scikit-learn warns of predictions of classes without images, and of a single class.
    if set(predicted) <= set(labels) and len(there) > 1:
        expected = sklearn_metrics.balanced_accuracy_score(labels, predicted)
        assert value("balanced_accuracy", given_set) == pytest.approx(expected)
    expected = sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0.0)
    assert value("macro_f1", given_set) == pytest.approx(expected)


@given(sets(least_classes=4))
def test_top3_accuracy_is_scikit_learns(given_set: Set) -> None:
    probabilities, labels = given_set
    classes = probabilities.shape[1]
    # Of equal probabilities scikit-learn takes the last, and accuracy the first.
    expected = sklearn_metrics.top_k_accuracy_score(
        classes - 1 - labels, probabilities[:, ::-1], k=3, labels=np.arange(classes)
    )
    assert value("top3_accuracy", given_set) == pytest.approx(expected)
    assert value("accuracy", given_set) <= value("top3_accuracy", given_set)


@given(sets())
def test_the_loss_is_scikit_learns(given_set: Set) -> None:
    probabilities, labels = given_set
    of_the_label = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1 - 1e-7)
    assert value("loss", given_set) == pytest.approx(-np.mean([math.log(p) for p in of_the_label]))


@given(sets())
def test_the_calibration_error_is_that_of_a_plain_loop(given_set: Set) -> None:
    probabilities, labels = given_set
    gap = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = [row for row in range(len(labels)) if low < probabilities[row].max() <= high]
        right = [probabilities[row].argmax() == labels[row] for row in inside]
        sure = [probabilities[row].max() for row in inside]
        gap += abs(sum(right) - sum(sure)) / len(labels)
    assert value("ece", given_set) == pytest.approx(gap, abs=1e-6)


def test_a_class_without_images_and_predictions_does_not_count() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])
    right = (probabilities, np.array([0, 1]))
    assert value("balanced_accuracy", right) == value("macro_f1", right) == 1.0
    # Predicted, but without images: it has an F1 score (0) and no recall.
    half = (probabilities, np.array([0, 0]))
    assert value("balanced_accuracy", half) == 0.5
    assert value("macro_f1", half) == pytest.approx((2 / 3 + 0) / 2)


def test_top3_accuracy_is_for_more_than_three_classes() -> None:
    assert [metric.name for metric in metrics.metrics_for(4)] == NAMES
    assert [metric.name for metric in metrics.metrics_for(3)] == [
        name for name in NAMES if name != "top3_accuracy"
    ]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, metrics.Metric]:
    """The registry, whose changes are undone."""
    copy = dict(metrics._METRICS)
    monkeypatch.setattr(metrics, "_METRICS", copy)
    return copy


def share_of_zeros(probabilities: Any, labels: Any) -> float:
    return float(np.mean(labels == 0))


def test_a_registered_metric_may_be_named(registry: Mapping[str, metrics.Metric]) -> None:
    named = ["sweep.objective.metric=val_zeros", "sweep.metrics=[test_zeros]"]
    with pytest.raises(ConfigError, match="val_zeros"):
        compose_config(named)
    fmnist_sweep.register_metric("zeros", "min", share_of_zeros, least_classes=5)
    config = compose_config(named)
    assert config.sweep.objective.direction == "min"
    assert config.sweep.objective.better(0.1, 0.2)
    assert metrics.metrics_of_your_own() == (registry["zeros"],)
    assert "zeros" not in [metric.name for metric in metrics.metrics_for(4)]
    fmnist_sweep.register_metric("zeros", "max", share_of_zeros)  # as a notebook's cell, run again
    assert compose_config(named).sweep.objective.direction == "max"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "val_zeros"}, "name=val_zeros: must be at most 50 lower-case letters, digits and"
         " _, the first a letter, without val_ or test_"),
        ({"name": "F beta"}, "name=F beta: must be at most 50 lower-case letters"),
        ({"name": "ece"}, "name=ece: the package has that metric; allowed: names other than "
         "accuracy, loss, balanced_accuracy, macro_f1, top3_accuracy, ece"),
        ({"direction": "up"}, "direction=up: must be one of max, min"),
        ({"function": 3}, "function=3: must be a function of probabilities and labels"),
        ({"least_classes": 0}, "least_classes=0: must be a whole number of at least 1"),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_be_registered_is_refused(
    changes: dict[str, Any], said: str, registry: Mapping[str, metrics.Metric]
) -> None:
    given: dict[str, Any] = {"name": "zeros", "direction": "min", "function": share_of_zeros}
    with pytest.raises(ConfigError) as caught:
        fmnist_sweep.register_metric(**{**given, **changes})
    assert str(caught.value).startswith(f"register_metric: {said}")
    assert "\n" not in str(caught.value)
    assert list(registry) == NAMES


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "sweep.metrics=[val_f1]",
            "sweep.metrics.0=val_f1: must be one of val_accuracy, val_loss, val_balanced_accuracy, "
            "val_macro_f1, val_top3_accuracy, val_ece, test_accuracy, test_loss, "
            "test_balanced_accuracy, test_macro_f1, test_top3_accuracy, test_ece",
        ),
        ("sweep.metrics=val_ece", "sweep.metrics=val_ece: must be a list"),
        (
            "sweep.objective.metric=test_ece",
            "sweep.objective.metric=test_ece: must be one of val_accuracy, val_loss, "
            "val_balanced_accuracy, val_macro_f1, val_top3_accuracy, val_ece, accuracy, loss",
        ),
        (
            "sweep.objective.metric=3",
            "sweep.objective.metric=3: must be one of val_accuracy, val_loss, ",
        ),
        (
            "sweep.objective.metric=loss",
            "sweep.objective.metric=loss is not a validation metric; allowed: val_accuracy, "
            "val_loss, val_balanced_accuracy, val_macro_f1, val_top3_accuracy, val_ece",
        ),
        (
            "train.monitor.metric=ece",
            "train.monitor.metric=ece: must be one of val_accuracy, val_loss, ",
        ),
    ],
)
def test_an_unknown_metric_is_refused_with_those_that_exist(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config([override])
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_config_from_before_shows_no_metrics_besides() -> None:
    config = compose_config([]).model_dump()
    del config["sweep"]["metrics"]
    assert upgraded(config)["sweep"]["metrics"] == []


def test_a_config_is_read_without_numpy() -> None:
    import subprocess
    import sys

    code = "import sys, fmnist_sweep.config.compose; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(fmnist_sweep.__file__).parents[1],
    )  # fmt: skip
    assert done.stdout.strip() == "False"
