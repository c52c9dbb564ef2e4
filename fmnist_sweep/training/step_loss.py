"""The loss between the ends of epochs, for trainings whose budget is in steps."""

from __future__ import annotations

from collections.abc import Mapping

import keras


class StepLoss:
    """Takes down the mean loss over the images since it last did, every so many steps.

    Steps are counted from the training's first; an epoch begins with a sum of its own, so that a
    training that goes on from a checkpoint takes down what a straight one does.

    Args:
        before: the steps before this epoch.
        every: how often.
        batch_size: images a step.
        images: those of an epoch; its last step may have fewer.

    Attributes:
        pairs: (step, mean loss).
        callback: what `fit` is to be given.
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
        # Keras gives the epoch's mean so far; two of them give the mean in between.
        seen = min((batch + 1) * self._batch_size, self._images)
        total = logs["loss"] * seen
        self.pairs.append((step, (total - self._sum) / (seen - self._seen)))
        self._seen, self._sum = seen, total
