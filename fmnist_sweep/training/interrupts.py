"""Makes a training interruptible before each of its steps, but not inside one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from fmnist_sweep.interrupts import stop_if_asked


def look_between_steps(model: keras.Model) -> None:
    """Make a compiled model check, before each step of `fit` and `predict`, whether the process was
    asked to stop. With a callback, Keras would fetch the metrics at each step.
    """
    model.make_train_function()
    model.train_function = partial(_looking, model.train_function)
    model.make_predict_function()
    model.predict_function = partial(_looking, model.predict_function)


def _looking(step: Callable[[Any], Any], batches: Any) -> Any:
    stop_if_asked()
    return step(batches)
