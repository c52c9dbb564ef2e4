"""What a training leaves behind, as plain values that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

BEST_MODEL_FILE = "best.keras"


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    `metrics` has `loss`, `accuracy`, `learning_rate`, `epoch_seconds` and, where there is a
    validation set, `val_loss` and `val_accuracy`. `epoch` counts from 1; `ended_at` is in
    seconds since 1970. `step_loss`, where it was asked for, has pairs of a step, counted from the
    training's first, and the mean loss of the steps since the pair before it, or since the
    epoch's beginning.
    """

    epoch: int
    metrics: dict[str, float]
    ended_at: float
    step_loss: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Return the record whose plain values were in JSON.

        Raises:
            TypeError, ValueError: they are no record's.
        """
        pairs = tuple((int(step), float(loss)) for step, loss in plain.get("step_loss", ()))
        return cls(**{**plain, "step_loss": pairs})


@dataclass(frozen=True)
class RunResult:
    """Where a training stands after a rung, over all of its epochs so far.

    `test_*` belong to the best epoch's weights, `best_weights_sha256` too; `weights_sha256` to
    the last epoch's. `train_seconds` adds up the epochs.
    """

    last_epoch: int
    best_epoch: int
    best_metrics: dict[str, float]
    test_accuracy: float
    test_loss: float
    train_seconds: float
    parameters: int
    stopped_early: bool
    weights_sha256: str
    best_weights_sha256: str
