"""How far a training is inside an epoch, for somebody who watches; asked for only then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

LEAST_SECONDS = 0.25
"""Between two looks at a training's loss: each waits for the step to be calculated."""


@dataclass(frozen=True)
class StepProgress:
    """A training after `step` of an epoch's `steps`. `epoch` and `last_epoch`, the rung's, count
    from 1; `loss` and `accuracy` are means over the epoch so far."""

    epoch: int
    last_epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float


OnStep = Callable[[StepProgress], None]
"""Hears of a step, of one every `LEAST_SECONDS` at the most."""


class StepWatch:
    """Looks at the clock after each call of a training's step function, which may train several
    steps, and tells of some of them.

    Args:
        on_step: hears of them.
        last_epoch: of the rung.
    """

    def __init__(self, on_step: OnStep, last_epoch: int) -> None:
        self._on_step = on_step
        self._last_epoch = last_epoch
        self._next = 0.0

    @contextmanager
    def epoch(self, model: keras.Model, epoch: int, steps: int) -> Iterator[None]:
        """Watch what `model.fit` trains in the block, an epoch of so many steps.

        The step's function is wrapped: for a callback Keras would fetch the metrics each step.
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
