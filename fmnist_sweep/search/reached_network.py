"""What a Keras layer or network that a builder reaches is made of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np


def content_of_network(value: Any) -> list[Any] | None:
    """Return what a Keras layer or network is made of; None for anything else. The names that Keras
    counts up are left out: they tell how many layers the process has made."""
    keras: Any = sys.modules.get("keras")
    if keras is None or not isinstance(value, keras.layers.Layer):
        return None
    weights = [np.asarray(weight) for weight in value.weights]
    try:
        config = value.get_config()
    except NotImplementedError:
        return weights
    numbers: dict[str, int] = {}
    _number_names(config, numbers)
    return [_with_numbers(config, numbers), *weights]


def _number_names(config: Any, numbers: dict[str, int]) -> None:
    if isinstance(config, dict):
        name = config.get("name")
        if isinstance(name, str):
            numbers.setdefault(name, len(numbers))
    for below in config.values() if isinstance(config, dict) else config:
        if isinstance(below, dict | list | tuple):
            _number_names(below, numbers)


def _with_numbers(config: Any, numbers: Mapping[str, int]) -> Any:
    if isinstance(config, dict):
        return {key: _with_numbers(value, numbers) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_with_numbers(value, numbers) for value in config]
    return numbers.get(config, config) if isinstance(config, str) else config
