"""Makes a training interruptible before each of its steps, but not inside one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from fmnist_sweep.interrupts import stop_if_asked

SLOW = 0.5
"""Seconds of a step, from which on it is a call of its own: an interrupt waits for a call's end."""


def look_between_steps(model: keras.Model) -> None:
    """Make a compiled model check, before each step of `fit` and `predict`, whether the process was
    asked to stop. With a callback, Keras would fetch the metrics at each step.
    """
    model.make_train_function()
    model.train_function = TrainSteps(model)
    model.make_predict_function()
    model.predict_function = partial(_looking, model.predict_function)


class TrainSteps:
    """A model's train function that looks, before each call of TensorFlow, whether the process was
    asked to stop. A call trains several steps, but one where steps take `SLOW` seconds or more."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._several = partial(_looking, model.train_function)
        self._one: Callable[[Any], Any] | None = None
        self._is_traced = False
        self._left = 0

    @contextmanager
    def epoch(self, steps: int, at_once: int) -> Iterator[None]:
        """Have `fit`, in the block, train an epoch of so many steps, `at_once` of them a call.
        `predict`, which is traced for each number of batches that it gets, always gets one."""
        self._left, self._model.steps_per_execution = steps, at_once
        try:
            yield
        finally:
            self._model.steps_per_execution = 1

    def __call__(self, batches: Any) -> Any:
        """Train the next steps; return their metrics."""
        at_once = self._model.steps_per_execution
        if self._one is None:
            started = time.perf_counter()
            logs = self._several(batches)
            # The first call traces the step, which says nothing of how long it takes.
            is_slow = self._is_traced and time.perf_counter() - started >= SLOW * at_once
            self._is_traced = True
            if is_slow and at_once > 1:
                self._one = self._made_anew()
        else:
            self._model.steps_per_execution = 1  # it is read while the step is traced
            for _ in range(min(at_once, self._left)):
                logs = self._one(batches)
            self._model.steps_per_execution = at_once
        self._left -= at_once
        return logs

    def _made_anew(self) -> Callable[[Any], Any]:
        function = self._model.train_function
        self._model.make_train_function(force=True)
        one, self._model.train_function = self._model.train_function, function
        return partial(_looking, one)


def _looking(step: Callable[[Any], Any], batches: Any) -> Any:
    stop_if_asked()
    return step(batches)
