"""Progress of a training within an epoch, read only if a callback is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

LEAST_SECONDS = 0.25
"""Minimum time between two reads of a training's loss: each waits for the step to finish."""


@dataclass(frozen=True)
class StepProgress:
    """Progress of a training after `step` of an epoch's `steps`. `epoch` and `last_epoch`, of the
    rung, count from 1; `loss` and `accuracy` are means over the epoch so far."""

    epoch: int
    last_epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float


OnStep = Callable[[StepProgress], None]
"""Progress callback, called at most every `LEAST_SECONDS`."""


class StepWatch:
    """Checks the clock after each call of a training's step function, which may train several
    steps, and reports some of them.

    Args:
        on_step: the progress callback.
        last_epoch: the rung's last epoch.
    """

    def __init__(self, on_step: OnStep, last_epoch: int) -> None:
        self._on_step = on_step
        self._last_epoch = last_epoch
        self._next = 0.0

    @contextmanager
    def epoch(self, model: keras.Model, epoch: int, steps: int) -> Iterator[None]:
        """Watch an epoch of `steps` steps, trained by `model.fit` inside the block.

        The step function is wrapped, because with a callback Keras would fetch the metrics at each
        step.
        """
        train, done = model.train_function, 0

        def watched(batches: Any) -> Any:
            nonlocal done
            logs = train(batches)
            done = min(done + model.steps_per_execution, steps)
            now = time.monotonic()
            if now >= self._next:
                loss, accuracy = float(logs["loss"]), float(logs["accuracy"])
                self._next = now + LEAST_SECONDS
                self._on_step(StepProgress(epoch, self._last_epoch, done, steps, loss, accuracy))
            return logs

        model.train_function = watched
        try:
            yield
        finally:
            model.train_function = train
