"""The loss within epochs, for trainings with a budget in steps."""

from __future__ import annotations

from collections.abc import Mapping

import keras


class StepLoss:
    """Records the mean loss since its last record, every `every` steps.

    Steps are counted from the start of the training; the sum is reset at each epoch, so that a
    training continued from a checkpoint records the same as an uninterrupted one.

    Args:
        before: the number of steps before this epoch.
        every: steps between two records.
        batch_size: images per step.
        images: images per epoch; the last step may have fewer.

    Attributes:
        pairs: (step, mean loss).
        callback: to be passed to `fit`.
    """

    def __init__(self, before: int, every: int, *, batch_size: int, images: int) -> None:
        self.pairs: list[tuple[int, float]] = []
        self._before = before
        self._every = every
        self._batch_size = batch_size
        self._images = images
        self._seen, self._sum = 0, 0.0
        self.callback = keras.callbacks.LambdaCallback(on_train_batch_end=self._batch_ended)

    def _batch_ended(self, batch: int, logs: Mapping[str, float]) -> None:
        step = self._before + batch + 1
        if step % self._every:
            return
        # Keras gives the epoch's mean so far; two of these give the mean in between.
        seen = min((batch + 1) * self._batch_size, self._images)
        total = logs["loss"] * seen
        self.pairs.append((step, (total - self._sum) / (seen - self._seen)))
        self._seen, self._sum = seen, total
