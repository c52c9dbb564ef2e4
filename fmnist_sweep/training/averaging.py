"""Weights averaged over the steps of a training (`train.ema`): Polyak & Juditsky 1992, with
exponentially falling shares.

Keras's optimizer keeps the averages among its own variables, so that a checkpoint has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def averaged(model: keras.Model) -> Iterator[bool]:
    """Give the model the averages of its trainable weights inside the block, and yield True;
    without averages, change nothing and yield False. Other weights, such as the statistics of
    normalisations, are averages already."""
    optimizer = model.optimizer
    if optimizer is None or not optimizer.use_ema or int(optimizer.iterations) == 0:
        yield False
        return
    weights = optimizer._trainable_variables  # in the order of the averages
    before = [weight.numpy() for weight in weights]
    for weight, average in zip(weights, optimizer._model_variables_moving_average, strict=True):
        weight.assign(average)
    try:
        yield True
    finally:
        for weight, values in zip(weights, before, strict=True):
            weight.assign(values)
