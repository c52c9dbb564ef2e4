"""Registered models, without MLflow: winners, versions, loaded models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHAMPION = "champion"
WEIGHTS_TAG, CLASSES_TAG = "best_weights.sha256", "classes.sha256"
FIT_TAG = "data.fit"
"""Tag with how training pictures were fitted, where `predict` would do it otherwise by itself."""
AUTO = "auto"
"""Value of `tracking.registered_model` that derives the name from the data's."""


def model_name(wanted: str, data: str) -> str:
    """Return the name of a registered model: the configured one, or one derived from the data's."""
    return wanted if wanted != AUTO else re.sub(r"[^A-Za-z0-9_-]+", "-", f"{data}-cnn").strip("-")


@dataclass(frozen=True, eq=False)
class Winner:
    """A model to be registered.

    Attributes:
        network: its `.keras` file; the input is float images in 0..1.
        image_shape: (height, width, channels).
        class_names: in the order of its outputs.
        example: one raw image, uint8 (height, width, channels).
        requirements: pip requirements for loading it.
        tags: tags of the version; `WEIGHTS_TAG` and `CLASSES_TAG` identify a winner and the names
            of its classes.
        description: Markdown.
    """

    network: Path
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    example: NDArray[np.uint8]
    requirements: list[str]
    tags: Mapping[str, str]
    description: str


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    name: str
    number: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Classifier:
    """A loaded model. `image_shape`: (height, width, channels); input and output of `predict` are
    described in `served_model.py`."""

    image_shape: tuple[int, int, int]
    predict: Callable[[Any], Any]
