"""Images as the model gets them: kept as uint8 once, scaled to 0..1 batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One set of a split: `images` uint8 (n, height, width, channels), `labels` int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(
        self, order: NDArray[np.int64], batch_size: int, steps: int, *, one_hot: bool
    ) -> tf.data.Dataset:
        """Return the first `steps` batches in that order, as (images, labels).

        Images are float32 in 0..1; labels int64, or float32 rows where `one_hot`. The last
        batch may be smaller.
        """

        def batch(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            labels = tf.gather(self._label_tensor, indices)
            return self._scaled(indices), tf.one_hot(labels, self.classes) if one_hot else labels

        numbers = tf.data.Dataset.from_tensor_slices(order[: steps * batch_size])
        return numbers.batch(batch_size).map(batch).prefetch(2).with_options(_options())

    def in_order(self, batch_size: int) -> tf.data.Dataset:
        """Return all images, float32 in 0..1, in their order."""
        numbers = tf.data.Dataset.range(len(self)).batch(batch_size)
        return numbers.map(self._scaled).prefetch(2).with_options(_options())

    @cached_property
    def _image_tensor(self) -> tf.Tensor:
        with tf.init_scope():  # a value of this process, whichever graph asks for it first
            return tf.constant(self.images)

    @cached_property
    def _label_tensor(self) -> tf.Tensor:
        with tf.init_scope():
            return tf.constant(self.labels)

    def _scaled(self, indices: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(self._image_tensor, indices), tf.float32) * (1.0 / 255.0)


def _options() -> tf.data.Options:
    options = tf.data.Options()
    # There is nothing to tune, and the thread that would do it sleeps twice as long each time, up
    # to seconds, while the end of an epoch may have to wait for it to wake up.
    options.autotune.enabled = False
    return options
