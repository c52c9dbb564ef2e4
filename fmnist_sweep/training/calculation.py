"""Global settings of Keras, TensorFlow and NumPy that affect results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from keras import config
from tensorflow.python.eager import context  # the public API cannot unset an option
from tensorflow.python.framework import config as tf_config  # nor determinism


@contextmanager
def usual_calculation() -> Iterator[None]:
    """Use the default calculation settings of Keras, TensorFlow and NumPy inside the block, and
    restore the user's settings at its end; also a decorator.

    Only settings that affect results: those of `keras.json`, KERAS_MAX_EPOCHS,
    KERAS_MAX_STEPS_PER_EPOCH, and calls made in a notebook. They are global to the process.
    """
    settings = _process_settings()
    before = [
        setting.get() for setting in settings
    ]  # read all first, because one may depend on another
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        try:
            for setting, value in zip(settings, before, strict=True):
                setting.change(value, setting.usual)
            yield
        finally:
            for setting, value in zip(settings, before, strict=True):
                setting.change(setting.get(), value)


@dataclass(frozen=True)
class _Setting:
    """A global setting, and its default value."""

    get: Callable[[], Any]
    set: Callable[[Any], object]
    usual: Any

    def change(self, value: Any, wanted: Any) -> None:
        if value != wanted:
            self.set(wanted)


def _process_settings() -> list[_Setting]:
    def set_options(options: dict[str, Any]) -> None:
        context.context()._optimizer_experimental_options = dict(options)
        context.context().set_optimizer_experimental_options(
            {}
        )  # makes later calls read the options again

    def set_jit(jit: bool | None) -> None:
        context.context().optimizer_jit = jit

    def set_determinism(on: bool) -> None:
        (tf_config.enable_op_determinism if on else tf_config.disable_op_determinism)()

    has_accelerators = any(
        device.device_type != "CPU" for device in tf.config.list_physical_devices()
    )
    return [
        # Keras initialises it from `floatx` on first access, so it is read before.
        _Setting(config.dtype_policy, config.set_dtype_policy, "float32"),
        _Setting(config.floatx, config.set_floatx, "float32"),
        _Setting(config.epsilon, config.set_epsilon, 1e-7),
        _Setting(config.image_data_format, config.set_image_data_format, "channels_last"),
        _Setting(config.max_epochs, config.set_max_epochs, None),
        _Setting(config.max_steps_per_epoch, config.set_max_steps_per_epoch, None),
        _Setting(tf.config.functions_run_eagerly, tf.config.run_functions_eagerly, False),
        _Setting(lambda: context.context()._optimizer_jit, set_jit, None),
        _Setting(lambda: dict(context.context()._optimizer_experimental_options), set_options, {}),
        _Setting(
            tf.config.experimental.tensor_float_32_execution_enabled,
            tf.config.experimental.enable_tensor_float_32_execution,
            True,
        ),
        # `runtime.use_threads` enables it if a GPU is used.
        _Setting(tf_config.is_op_determinism_enabled, set_determinism, has_accelerators),
    ]
