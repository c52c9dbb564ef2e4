"""The package's metrics: functions of the probabilities and labels of a whole set.

`probabilities` are float64 (n, classes), rows that sum to 1; `labels` are integers (n,), indices of
the true classes; n is at least 1. `config/metrics.py` has the registry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.floating]
Labels = NDArray[np.integer]

# Keras's own guard against log(0); the same, so that losses compare.
_EPSILON = 1e-7
CALIBRATION_BINS = 15  # as in Guo et al., 2017


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Return the share of images whose most probable class is the true one (of equals the
    first)."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def loss(probabilities: Probabilities, labels: Labels) -> float:
    """Return the mean cross-entropy, without label smoothing, so that trials compare."""
    of_the_label = probabilities[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.clip(of_the_label, _EPSILON, 1.0 - _EPSILON))))


def balanced_accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Return the mean of the classes' recalls, over the classes that have images."""
    right, images, _ = _counts(probabilities, labels)
    there = images > 0
    return float(np.mean(right[there] / images[there]))


def macro_f1(probabilities: Probabilities, labels: Labels) -> float:
    """Return the mean of the classes' F1 scores, over the classes that have images or
    predictions."""
    right, images, predicted = _counts(probabilities, labels)
    there = images + predicted > 0
    return float(np.mean(2.0 * right[there] / (images + predicted)[there]))


def top3_accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Return the share of images whose true class is among the three most probable ones (of equals
    the first)."""
    rows, classes = np.arange(len(labels)), np.arange(probabilities.shape[1])
    of_the_label = probabilities[rows, labels][:, np.newaxis]
    before = (probabilities == of_the_label) & (classes < labels[:, np.newaxis])
    rank = np.count_nonzero((probabilities > of_the_label) | before, axis=1)
    return float(np.mean(rank < 3))


def expected_calibration_error(
    probabilities: Probabilities, labels: Labels, bins: int = CALIBRATION_BINS
) -> float:
    """Return the expected calibration error, 0..1: the mean gap between confidence and accuracy.

    Predictions are put into bins of equal width by confidence, each bin open below and closed
    above, and each bin is weighted by its share of the predictions (Naeini et al., "Obtaining Well
    Calibrated Probabilities Using Bayesian Binning", 2015; Guo et al., "On Calibration of Modern
    Neural Networks", 2017, arXiv 1706.04599, with 15 bins).

    Raises:
        ValueError: n is 0.
    """
    if len(labels) == 0:
        raise ValueError("cannot compute the calibration error of 0 predictions")
    binned = CalibrationBins.of(probabilities, labels, bins)
    weights = binned.predictions / len(labels)
    return float(np.sum(weights * np.abs(binned.accuracy - binned.confidence)))


@dataclass(frozen=True, eq=False)
class CalibrationBins:
    """Bin edges, (bins + 1,), and per bin, (bins,), the number of predictions and their mean
    confidence and accuracy (0 for an empty bin)."""

    edges: NDArray[np.float64]
    predictions: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @classmethod
    def of(
        cls, probabilities: Probabilities, labels: Labels, bins: int = CALIBRATION_BINS
    ) -> CalibrationBins:
        """Put predictions into bins of equal width by their confidence."""
        confidence = probabilities.max(axis=1).astype(np.float64)
        right = probabilities.argmax(axis=1) == labels
        edges = np.linspace(0.0, 1.0, bins + 1)
        places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        predictions = np.bincount(places, minlength=bins)
        divisors = np.maximum(predictions, 1)
        return cls(
            edges,
            predictions,
            np.bincount(places, weights=confidence, minlength=bins) / divisors,
            np.bincount(places, weights=right, minlength=bins) / divisors,
        )


def _counts(
    probabilities: Probabilities, labels: Labels
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return per class, (classes,), the right predictions, the images and the predictions."""
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    right = np.bincount(labels[predicted == labels], minlength=classes)
    images = np.bincount(labels, minlength=classes)
    return right, images, np.bincount(predicted, minlength=classes)
