"""Batch normalisation and Adam as single TensorFlow operations.

Keras composes both of many elementwise operations, each of which reads the memory again: a third of
a step of a small CNN on a CPU. The results are the same up to rounding.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import tensorflow as tf

# oneDNN is slow for other numbers of channels in bfloat16; casting is faster.
_CHANNELS_AT_ONCE = 16
_DTYPES = (tf.float32, tf.bfloat16, tf.float16)


def fuse_batch_norm(model: keras.Model) -> None:
    """Make the model's batch normalisations of feature maps use one operation in training.

    The layers remain Keras's: saved models and calls outside training are unchanged. Layers that
    normalise vectors or another axis than the last, or use renormalisation, are not changed: there
    is no gain, or no such operation.
    """
    for layer in model._flatten_layers():  # includes nested models, unlike `layers`
        is_fused = "call" in vars(layer)  # by an earlier training, if the builder reuses the model
        if type(layer) is keras.layers.BatchNormalization and _is_plain(layer) and not is_fused:
            layer.call = partial(_batch_norm, layer, layer.call)


def _is_plain(layer: keras.layers.BatchNormalization) -> bool:
    return (
        layer.axis in (-1, 3) and layer.center and layer.scale
        and not layer.renorm and not layer.synchronized and layer.variable_dtype == "float32"
    )  # fmt: skip


def _batch_norm(
    layer: keras.layers.BatchNormalization,
    composed: Any,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    frozen = not training or not layer.trainable
    if frozen or mask is not None or len(inputs.shape) != 4 or inputs.dtype not in _DTYPES:
        return composed(inputs, training=training, mask=mask)
    channels = layer.gamma.shape[0]
    in_bfloat16 = inputs.dtype == tf.bfloat16 and channels % _CHANNELS_AT_ONCE == 0
    images = tf.cast(inputs, tf.bfloat16 if in_bfloat16 else tf.float32)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=layer.gamma.value,
        offset=layer.beta.value,
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=layer.epsilon,
        is_training=True,
    )
    # The operation returns the unbiased variance; Keras uses the biased one.
    values = tf.cast(tf.size(inputs) // channels, variance.dtype)
    _move(layer.moving_mean, mean, layer.momentum)
    _move(layer.moving_variance, variance * ((values - 1.0) / values), layer.momentum)
    return tf.cast(outputs, layer.compute_dtype)


def _move(average: keras.Variable, value: tf.Tensor, momentum: float) -> None:
    average.assign(average * momentum + value * (1.0 - momentum))


class _FusedStep:
    """Mixin for Keras's Adam and AdamW: a variable's update is one operation.

    Kingma & Ba 2015 (arXiv 1412.6980), in the form that Keras uses, before its section 2.1.
    """

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]  # Keras's
            return
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, variable.dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, variable.dtype), step),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, variable.dtype),
        )


class FusedAdam(_FusedStep, keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no types
    """Keras's Adam."""


class FusedAdamW(_FusedStep, keras.optimizers.AdamW):  # type: ignore[misc]  # Keras has no types
    """Keras's AdamW."""
