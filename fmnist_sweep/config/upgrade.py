"""Configs, records and journals of earlier versions, in today's form.

A key that is added to the config gets a line in `ADDED`. Then everything written before the key
existed is still read, and a sweep or a record that does not use the key stays what it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

ADDED: dict[str, Any] = {
    "report": False,
    "display": "auto",
    "tracking.keep_checkpoints": None,
    "tracking.registered_model": None,
    "scheduler": {"name": "full"},
    "sweep.metrics": [],
    "sweep.learn_from": [],
    "sweep.objectives": None,
    "sweep.choose": None,
    "model.width": 1.0,
    "model.conv_defaults.convs": 1,
    "model.conv_defaults.separable": False,
    "model.conv_defaults.residual": "none",
    "model.conv_defaults.residual_activation": "post",
    "model.conv_defaults.squeeze_excite": 0.0,
    "model.conv_defaults.stochastic_depth": 0.0,
    "model.conv_defaults.repeat": 1,
    "train.optimizer.decays": "all",
    "train.class_weights": None,
    "train.augment": {
        "flip": "none",
        "shift": 0,
        "rotation": 0.0,
        "zoom": 0.0,
        "erase": 0.0,
        "mixup": 0.0,
        "cutmix": 0.0,
    },
    "train.ema": None,
    "train.test_flip": False,
}
"""Keys by path that earlier versions did not have, each with the value that means what they did."""

ADDED_TO_DATA: dict[str, dict[str, Any]] = {
    "csv": {"label": None, "transposed": False, "close_gaps": False, "pixel_max": 255},
    "npz": {
        "files": None,
        "arrays": None,
        "channels_first": False,
        "close_gaps": False,
        "pixel_max": 255,
    },
}
"""The same for keys of `data`, by its source."""


def upgraded(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config, or a part of one such as `{"model": ..., "train": ...}`, with the keys that
    were added since it was written.

    A key at the top is added to a whole config only, one that has a `schema_version`.
    """
    config = copy.deepcopy(dict(given))
    for path, value in ADDED.items():
        *parents, key = path.split(".")
        node = _at(config, parents)
        if isinstance(node, dict) and (parents or "schema_version" in config):
            node.setdefault(key, copy.deepcopy(value))
    data = config.get("data")
    if isinstance(data, dict):
        data |= missing_data_keys(data)
    return config


def missing_data_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that were added since the whole `data` part of a config was written, each
    with the value that means what it did."""
    added = ADDED_TO_DATA.get(str(data.get("source")), {})
    return {key: value for key, value in added.items() if key not in data}


def without_additions(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values under the config's names without the keys that have the values of
    `ADDED`, so that a digest over them is the one that earlier versions made."""
    config = copy.deepcopy(dict(given))
    for path, value in ADDED.items():
        *parents, key = path.split(".")
        node = _at(config, parents)
        if isinstance(node, dict) and key in node and node[key] == value:
            del node[key]
    data = config.get("data")
    if isinstance(data, dict):
        for key, value in ADDED_TO_DATA.get(str(data.get("source")), {}).items():
            if key in data and data[key] == value:
                del data[key]
    return config


def _at(config: dict[str, Any], parents: list[str]) -> Any:
    node: Any = config
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    return node
