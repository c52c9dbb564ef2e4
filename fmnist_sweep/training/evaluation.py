"""Metrics over a whole set at once, never averaged over unequal batches."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.training.batches import ImageSet

# Keras's own guard against log(0); the same, so that losses compare.
_EPSILON = 1e-7
_BATCH_SIZE = 1000


@dataclass(frozen=True)
class Evaluation:
    """What a model does on one set."""

    accuracy: float
    loss: float


def evaluate(model: keras.Model, images: ImageSet) -> Evaluation:
    """Return accuracy and cross-entropy (no label smoothing, so that trials compare)."""
    chances = probabilities(model, images)
    of_the_label = chances[np.arange(len(images)), images.labels]
    return Evaluation(
        accuracy=float(np.mean(chances.argmax(axis=1) == images.labels)),
        loss=float(-np.mean(np.log(np.clip(of_the_label, _EPSILON, 1.0 - _EPSILON)))),
    )


def probabilities(model: keras.Model, images: ImageSet) -> NDArray[np.float64]:
    """Return class probabilities, float64, (n, classes)."""
    predicted = model.predict(images.in_order(_BATCH_SIZE), verbose=0)
    return np.asarray(predicted, dtype=np.float64)
