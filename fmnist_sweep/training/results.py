"""Results of a training, as plain values that can be stored as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

BEST_MODEL_FILE = "best.keras"


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    `metrics` has `loss`, `accuracy`, `learning_rate`, `epoch_seconds` and, with a validation set,
    `val_loss`, `val_accuracy` and the other registered metrics. `epoch` counts from 1; `ended_at`
    is in seconds since 1970.
    `step_loss`, if requested, has pairs of a step, counted from the start of the training, and the
    mean loss since the previous pair or the start of the epoch.
    With `folds`, the metrics of each, `metrics` are their means, and `epoch_seconds` the sum.
    """

    epoch: int
    metrics: dict[str, float]
    ended_at: float
    step_loss: tuple[tuple[int, float], ...] = ()
    folds: tuple[dict[str, float], ...] = ()

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Create a record from its plain values.

        Raises:
            TypeError, ValueError: they are not a record's.
        """
        pairs = tuple((int(step), float(loss)) for step, loss in plain.get("step_loss", ()))
        return cls(**{**plain, "step_loss": pairs, "folds": tuple(plain.get("folds", ()))})


@dataclass(frozen=True)
class RunResult:
    """The results of a training after a rung, over all of its epochs so far.

    `test_*` and `best_weights_sha256` are those of the best epoch's weights, `weights_sha256` of
    the last epoch's. `train_seconds` is the sum over all epochs. `test_metrics` are the other
    registered metrics of the test set, by names such as `test_macro_f1`; results of earlier
    versions have none. `costs` are those that were asked for, such as `predict_ms`.

    With `folds`, metrics are means over the folds; `folds` has, for each, its metrics of the best
    epoch, which is that of the means, and its `test_*`. The digests are over those of the folds.
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
    test_metrics: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    folds: tuple[dict[str, float], ...] = ()

    def spread(self, name: str) -> float | None:
        """Return the standard deviation of a metric over the folds; None without folds, or if they
        have no such metric."""
        values = [fold[name] for fold in self.folds if name in fold]
        return statistics.stdev(values) if len(values) > 1 else None

    @property
    def of_test_set(self) -> dict[str, float]:
        """All metrics of the test set, by their names in MLflow."""
        always = {"test_accuracy": self.test_accuracy, "test_loss": self.test_loss}
        return {**always, **self.test_metrics}
