"""Metrics over a whole set at once, never averaged over unequal batches."""

from __future__ import annotations

import math

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.metrics import TRAINING_METRICS, metrics_for
from fmnist_sweep.errors import TrialFailed
from fmnist_sweep.reasons import reason_of
from fmnist_sweep.training.batches import ImageSet

_BATCH_SIZE = 1000


def evaluate(model: keras.Model, images: ImageSet, prefix: str = "") -> dict[str, float]:
    """Return all registered metrics of a model on a set, from one prediction, by `prefix` and name.

    Where a probability is not finite, all but accuracy and loss are NaN.

    Raises:
        TrialFailed: a metric of the user's own raised an error; the message names it.
    """
    chances, labels = probabilities(model, images), images.labels.view()
    for array in (chances, labels):
        array.flags.writeable = False
    is_finite = bool(np.isfinite(chances).all())
    measured = {}
    for metric in metrics_for(images.classes):
        value = math.nan
        if is_finite or metric.name in TRAINING_METRICS:
            try:
                value = float(metric.function(chances, labels))
            except Exception as error:  # a user's function may raise any error
                raise TrialFailed(f"metric {metric.name}: {reason_of(error)}") from error
        measured[f"{prefix}{metric.name}"] = value
    return measured


def probabilities(model: keras.Model, images: ImageSet) -> NDArray[np.float64]:
    """Return class probabilities, float64, (n, classes)."""
    predicted = model.predict(images.in_order(_BATCH_SIZE), verbose=0)
    return np.asarray(predicted, dtype=np.float64)
