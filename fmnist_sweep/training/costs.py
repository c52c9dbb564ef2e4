"""What a trained network costs, beside its parameters."""

from __future__ import annotations

import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from fmnist_sweep.config.metrics import MFLOPS, PREDICT_MS
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.model.plan import plan_cnn

_WARM_UP, _PREDICTIONS = 10, 200


def measured_costs(
    names: Sequence[str],
    config: RunConfig,
    model: keras.Model,
    image_shape: tuple[int, int, int],
    classes: int,
) -> dict[str, float]:
    """Return those costs of a network, by name. `mflops` are those of the config's network."""
    costs = {}
    if MFLOPS in names:
        costs[MFLOPS] = plan_cnn(config.model, image_shape, classes).mflops
    if PREDICT_MS in names:
        costs[PREDICT_MS] = _predict_ms(model, image_shape)
    return costs


def _predict_ms(model: keras.Model, image_shape: tuple[int, int, int]) -> float:
    """Return the least time of many predictions of one image, in milliseconds.

    The least one is what the network takes; the others are longer by what else the machine does. A
    graph is called, as a server would: Keras's `predict` prepares batches for longer than that.
    """
    image = tf.zeros((1, *image_shape), tf.float32)
    predict = tf.function(lambda images: model(images, training=False))
    seconds = []
    for _ in range(_WARM_UP + _PREDICTIONS):
        started = time.perf_counter()
        predict(image).numpy()
        seconds.append(time.perf_counter() - started)
    return 1000.0 * min(seconds[_WARM_UP:])
