"""What a training leaves behind, as plain values that JSON can hold."""

from __future__ import annotations

from dataclasses import dataclass

BEST_MODEL_FILE = "best.keras"


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    `metrics` has `loss`, `accuracy`, `learning_rate`, `epoch_seconds` and, where there is a
    validation set, `val_loss` and `val_accuracy`. `epoch` counts from 1; `ended_at` is in
    seconds since 1970.
    """

    epoch: int
    metrics: dict[str, float]
    ended_at: float


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
