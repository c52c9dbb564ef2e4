"""The registry of metrics: what a training logs, a search may be steered by and a leaderboard
shows, and which way each is better.

A metric `name` is logged as `val_<name>` for each epoch's validation and as `test_<name>` for the
test set. Beside them are the costs of a network, which a search may be steered by too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from fmnist_sweep.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Direction = Literal["max", "min"]
MetricFunction = Callable[["NDArray[np.float64]", "NDArray[np.int64]"], float]
"""(probabilities, float64 (n, classes); labels, int64 (n,)) -> the metric of that set."""

VALIDATION, TEST = "val_", "test_"
TRAINING_METRICS = ("accuracy", "loss")
"""Those that Keras also computes while it trains; they may be monitored without a validation
set."""

PARAMETERS, MFLOPS, PREDICT_MS = "parameters", "mflops", "predict_ms"
COSTS = (PARAMETERS, MFLOPS, PREDICT_MS)
"""What a network costs, the less the better: its parameters; millions of operations in one image's
forward pass; the milliseconds that a prediction of one image takes."""


@dataclass(frozen=True)
class Metric:
    """A metric. `direction`: whether the highest or the lowest is the best; it is not computed for
    data with fewer than `least_classes` classes."""

    name: str
    direction: Direction
    function: MetricFunction
    least_classes: int = 2


def register_metric(
    name: str, direction: Direction, function: MetricFunction, *, least_classes: int = 2
) -> None:
    """Add a metric of one's own, in place of an earlier one of one's own of that name.

    From then on every training logs it, and `sweep.objective.metric`, `train.monitor.metric` and
    `sweep.metrics` may name it, as `val_<name>`.

    Args:
        name: lower-case letters, digits and `_`.
        direction: `max` if higher is better, `min` if lower is.
        function: (probabilities, labels) -> a finite number. The arrays, float64 (n, classes) and
            int64 (n,), are a whole set's, in its order; they cannot be written. An error fails
            the trial.
        least_classes: the metric does not exist for data with fewer classes.

    Raises:
        ConfigError: names the argument, its value and what is allowed.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or name.startswith((VALIDATION, TEST)):
        raise ConfigError(
            f"register_metric: name={name}: must be at most 50 lower-case letters, digits and _, "
            f"the first a letter, without {VALIDATION} or {TEST}"
        )
    if name in _OURS:
        raise ConfigError(
            f"register_metric: name={name}: the package has that metric; allowed: names other than "
            f"{', '.join(_OURS)}"
        )
    if direction not in get_args(Direction):
        raise ConfigError(f"register_metric: direction={direction}: must be one of max, min")
    if not callable(function):
        raise ConfigError(
            f"register_metric: function={function!r}: must be a function of probabilities and "
            "labels"
        )
    if not isinstance(least_classes, int) or least_classes < 1:
        raise ConfigError(
            f"register_metric: least_classes={least_classes!r}: must be a whole number of at "
            "least 1"
        )
    register(Metric(name, direction, function, least_classes))


def register(metric: Metric) -> None:
    """Add a metric that `register_metric` has checked, in this process."""
    _METRICS[metric.name] = metric


def metrics_of_your_own() -> tuple[Metric, ...]:
    """Return the metrics that were registered from outside the package."""
    return tuple(metric for metric in _METRICS.values() if metric.name not in _OURS)


def metrics_for(classes: int) -> list[Metric]:
    """Return the metrics of data with that many classes."""
    return [metric for metric in _METRICS.values() if classes >= metric.least_classes]


def metric_of(name: str) -> Metric:
    """Return the metric of a name such as `val_loss`, `test_loss` or `loss`."""
    return _METRICS[name.removeprefix(VALIDATION).removeprefix(TEST)]


def direction_of(name: str) -> Direction:
    """Return which way a metric or a cost is better."""
    return "min" if name in COSTS else metric_of(name).direction


def sign_of(direction: Direction) -> float:
    """Return 1.0 for `max` and -1.0 for `min`: a score times this is the higher, the better."""
    return 1.0 if direction == "max" else -1.0


def validation_metrics() -> list[str]:
    """Return the names that may be a search's objective."""
    return [f"{VALIDATION}{name}" for name in _METRICS]


def objective_names() -> list[str]:
    """Return the names that may be one of a search's several objectives."""
    return [*validation_metrics(), *COSTS]


def monitored_metrics() -> list[str]:
    """Return the names that may determine a training's best epoch."""
    return [*validation_metrics(), *TRAINING_METRICS]


def leaderboard_metrics() -> list[str]:
    """Return the names that a leaderboard may show."""
    return [*validation_metrics(), *(f"{TEST}{name}" for name in _METRICS)]


def _ours(name: str) -> MetricFunction:
    def function(probabilities: Any, labels: Any) -> float:
        # Not before the first set: NumPy takes a tenth of a second, and a config needs none.
        from fmnist_sweep import metrics

        return float(getattr(metrics, name)(probabilities, labels))

    return function


def _by_name(metrics: Iterable[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


_METRICS = _by_name(
    (
        Metric("accuracy", "max", _ours("accuracy")),
        Metric("loss", "min", _ours("loss")),
        Metric("balanced_accuracy", "max", _ours("balanced_accuracy")),
        Metric("macro_f1", "max", _ours("macro_f1")),
        Metric("top3_accuracy", "max", _ours("top3_accuracy"), least_classes=4),
        Metric("ece", "min", _ours("expected_calibration_error")),
    )
)
_OURS = tuple(_METRICS)
