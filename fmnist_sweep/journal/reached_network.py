"""The content of Keras layers and networks that a builder refers to."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np


def content_of_network(value: Any) -> list[Any] | None:
    """Return the content of a Keras object (a layer, a network, an initializer or the like); None
    for anything else.

    Without names numbered by Keras, which depend on how many layers the process has created, and
    without what a layer records at its first call.
    """
    keras: Any = sys.modules.get("keras")
    if keras is None or not hasattr(value, "get_config"):
        return None
    is_layer = isinstance(value, keras.layers.Layer)
    if not is_layer and not type(value).__module__.startswith("keras."):
        return None
    weights = [np.asarray(weight) for weight in value.weights] if is_layer else []
    # The config of a Lambda contains its code, but not the globals that it uses.
    functions = [value.function] if isinstance(value, keras.layers.Lambda) else []
    try:
        config = _as_written(value.get_config())
    except NotImplementedError:
        return [*functions, *weights]
    numbers: dict[str, int] = {}
    _number_names(config, numbers)
    return [_with_numbers(config, numbers, is_name=False), *functions, *weights]


_NAMES = ("name", "keras_history", "input_layers", "output_layers")
"""Keys of a network's config whose values are names of layers."""
_LEARNT = ("build_config", "build_input_shape")


def _as_written(config: Any) -> Any:
    """Return a config without what the first call adds: shapes, and a Sequential's input."""
    if isinstance(config, list | tuple):
        return [_as_written(value) for value in config]
    if not isinstance(config, dict):
        return config
    kept = {key: _as_written(value) for key, value in config.items() if key not in _LEARNT}
    if "layers" in kept and "input_layers" not in kept:
        kept["layers"] = [one for one in kept["layers"] if one["class_name"] != "InputLayer"]
    return kept


def _number_names(config: Any, numbers: dict[str, int]) -> None:
    if isinstance(config, dict):
        name = config.get("name")
        if isinstance(name, str):
            numbers.setdefault(name, len(numbers))
    for below in config.values() if isinstance(config, dict) else config:
        if isinstance(below, dict | list | tuple):
            _number_names(below, numbers)


def _with_numbers(config: Any, numbers: Mapping[str, int], *, is_name: bool) -> Any:
    if isinstance(config, dict):
        return {
            key: _with_numbers(value, numbers, is_name=key in _NAMES)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [_with_numbers(value, numbers, is_name=is_name) for value in config]
    return numbers.get(config, config) if is_name and isinstance(config, str) else config
