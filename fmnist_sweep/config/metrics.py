"""The metrics that a training logs and a search may be steered by, and which way each is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Direction = Literal["max", "min"]
Metric = Literal["val_accuracy", "val_loss", "accuracy", "loss"]

DIRECTIONS: Mapping[str, Direction] = {
    "val_accuracy": "max",
    "val_loss": "min",
    "accuracy": "max",
    "loss": "min",
}
"""Which way each metric is better: the higher (`max`) or the lower (`min`)."""
VALIDATION_METRICS = ("val_accuracy", "val_loss")


def sign_of(direction: Direction) -> float:
    """Return 1.0 for `max` and -1.0 for `min`: a score times this is the higher, the better."""
    return 1.0 if direction == "max" else -1.0
