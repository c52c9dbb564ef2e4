"""Verifies reruns: compares a training with its record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fmnist_sweep.config.messages import one_line, show
from fmnist_sweep.config.record_schema import Environment, Expected, ExpectedMetric, Numerics
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.config.upgrade import upgraded
from fmnist_sweep.errors import ConfigError, NotReproduced

_STANDARD_ERRORS = 4
_LEAST_TOLERANCE = 0.005
_ABSENT = object()


_MEASURED_ON = {"best_val_accuracy": "validation", "test_accuracy": "test"}
"""The metrics of a record, by their names in MLflow, and the sets that they belong to."""


@dataclass(frozen=True)
class Outcome:
    """The results of a training. `metrics` by their names in MLflow; those not in records are
    ignored.
    `images` has the number of images per set: train, validation, test."""

    metrics: Mapping[str, float]
    images: Mapping[str, int]
    data_sha256: str
    split_sha256: str
    weights_sha256: str
    best_weights_sha256: str

    @property
    def recorded(self) -> dict[str, float]:
        """The metrics that are part of a record."""
        return {name: self.metrics[name] for name in _MEASURED_ON if name in self.metrics}


@dataclass(frozen=True)
class Comparison:
    """One row of the verdict's table, as text; `matches` is None if it differs and may differ."""

    name: str
    recorded: str
    reproduced: str
    allowed: str
    matches: bool | None


@dataclass(frozen=True)
class Verification:
    """Whether a rerun reproduced its record.

    `differences` describes how its environment differs from the record's; if it does not, exact
    equality is required. Equal weights are exact in any environment.
    """

    comparisons: tuple[Comparison, ...]
    differences: tuple[str, ...]

    @property
    def matches(self) -> bool:
        """Whether no comparison failed."""
        return all(line.matches is not False for line in self.comparisons)

    @property
    def tested(self) -> str:
        """What was required."""
        return "the tolerance" if self.differences and not self._is_exact else "the last bit"

    @property
    def verdict(self) -> str:
        """`exact`, `within tolerance` or `not reproduced`."""
        if not self.matches:
            return "not reproduced"
        return "exact" if self._is_exact else "within tolerance"

    @property
    def _is_exact(self) -> bool:
        return all(line.matches for line in self.comparisons)


def expected_of(
    config: RunConfig, outcome: Outcome, environments: Sequence[Environment]
) -> Expected:
    """Return the record of a training, for the config that retrains it.

    `environments`: those in which its epochs were trained.
    """
    numerics = [environment.numerics for environment in environments]
    same = bool(numerics) and all(other == numerics[0] for other in numerics)
    return Expected(
        metrics={
            name: ExpectedMetric(
                value=value, tolerance=tolerance(value, outcome.images[_MEASURED_ON[name]])
            )
            for name, value in outcome.recorded.items()
        },
        data_sha256=outcome.data_sha256,
        split_sha256=outcome.split_sha256,
        weights_sha256=outcome.weights_sha256,
        best_weights_sha256=outcome.best_weights_sha256,
        numerics=numerics[0] if same else None,
        config=_recorded_config(config),
    )


def tolerance(accuracy: float, images: int) -> float:
    """Return how much an accuracy, measured on `images` images, may differ in another environment.

    Different rounding gives a different network of the same kind, whose accuracy varies randomly:
    four standard errors (binomial) are allowed, and at least half a percentage point.
    """
    spread = math.sqrt(max(accuracy * (1.0 - accuracy), 1.0 / images) / images)
    return round(max(_LEAST_TOLERANCE, _STANDARD_ERRORS * spread), 4)


def check_before(
    expected: Expected, config: RunConfig, data_sha256: str, split_sha256: str, source: str
) -> None:
    """Reject training a config that differs from its record.

    Raises:
        NotReproduced: data, split or a value of the config differ; names each and both values.
        ConfigError: the recorded config is invalid.
    """
    wrong = []
    for name, recorded, here in (
        ("data", expected.data_sha256, data_sha256),
        ("split", expected.split_sha256, split_sha256),
    ):
        if recorded != here:
            wrong.append(f"{name} has sha256 {here}, recorded: {recorded}")
    for path, (recorded_value, value) in _changes(expected.config, config).items():
        said = "absent" if recorded_value is _ABSENT else show(recorded_value)
        wrong.append(f"{path} is {'absent' if value is _ABSENT else show(value)}, recorded: {said}")
    if wrong:
        raise NotReproduced(
            f"{source} differs from its record: {'; '.join(wrong[:4])}"
            + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
            + ". Nothing was trained; to derive a new run, set values on the command line"
        )


def compare(expected: Expected, outcome: Outcome, numerics: Numerics) -> Verification:
    """Compare a rerun's results with the record.

    In the record's environment every bit must be equal; elsewhere accuracies must be within their
    tolerances, and the weights may differ.
    """
    differences = _environment_differences(expected.numerics, numerics)
    exact = not differences
    lines = []
    for name, recorded in expected.metrics.items():
        value = outcome.metrics.get(name)
        allowed = 0.0 if exact else recorded.tolerance
        lines.append(
            Comparison(
                name,
                _number(recorded.value, exact),
                "none" if value is None else _number(value, exact),
                "the same" if exact else f"± {recorded.tolerance:g}",
                value is not None and abs(value - recorded.value) <= allowed,
            )
        )
    for name in ("best_weights_sha256", "weights_sha256"):
        was, now = getattr(expected, name), getattr(outcome, name)
        allowed_words = "the same" if exact else "any"
        matches = was == now or (False if exact else None)
        lines.append(Comparison(name, was[:16], now[:16], allowed_words, matches))
    return Verification(tuple(lines), tuple(differences))


def _recorded_config(config: RunConfig) -> str:
    plain = config.as_given()
    # Threads belong to the environment: they affect the last bits, not what is trained.
    train = {key: value for key, value in plain["train"].items() if key != "threads"}
    return json.dumps({"model": plain["model"], "train": train}, separators=(",", ":"))


def _changes(recorded: str, config: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Return path -> (recorded, now) for the values of model and train that differ."""
    try:
        parts = json.loads(recorded)
        train = {**parts["train"], "threads": config.train.threads}
        given = upgraded({**config.as_given(), "model": parts["model"], "train": train})
        before = RunConfig.model_validate(given)
    except ValidationError as error:
        raise ConfigError(f"expected.config: {one_line(error, given)}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"expected.config: cannot be read: {error}") from error
    was, now = _leaves(before), _leaves(config)
    return {
        path: (was.get(path, _ABSENT), now.get(path, _ABSENT))
        for path in dict.fromkeys([*was, *now])
        if was.get(path, _ABSENT) != now.get(path, _ABSENT)
    }


def _leaves(config: RunConfig) -> dict[str, Any]:
    plain = config.model_dump(include={"model", "train"})
    # Their values are compared where blocks use them.
    for defaults in ("conv_defaults", "fc_defaults"):
        del plain["model"][defaults]
    return dict(_walk(plain, ""))


def _walk(node: Any, at: str) -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        below = [(str(key), value) for key, value in node.items()]
    elif isinstance(node, list) and any(isinstance(value, dict) for value in node):
        below = [(str(number), value) for number, value in enumerate(node)]
    else:
        return [(at, node)]
    return [leaf for key, value in below for leaf in _walk(value, f"{at}.{key}" if at else key)]


def _environment_differences(recorded: Numerics | None, here: Numerics) -> list[str]:
    if recorded is None:
        return ["the record is of several environments, or does not name any"]
    differences = []
    for name in dict.fromkeys([*recorded.versions, *here.versions]):
        was, now = recorded.versions.get(name, "absent"), here.versions.get(name, "absent")
        if was != now:
            differences.append(f"{name} {was} -> {now}")
    if recorded.threads != here.threads:
        differences.append(f"threads {recorded.threads} -> {here.threads}")
    if recorded.cpu != here.cpu:
        differences.append(f"CPU {recorded.cpu} -> {here.cpu}")
    lost = sorted({*recorded.cpu_features} - {*here.cpu_features})
    gained = sorted({*here.cpu_features} - {*recorded.cpu_features})
    if lost or gained:
        changes = {"without": lost, "with": gained}
        words = [f"{word} {' '.join(some)}" for word, some in changes.items() if some]
        differences.append(f"CPU features {', '.join(words)}")
    for name in ("accelerators", "settings"):
        was, now = getattr(recorded, name), getattr(here, name)
        if was != now:
            differences.append(f"{name} {show(was)} -> {show(now)}")
    return differences


def _number(value: float, exact: bool) -> str:
    return repr(value) if exact else f"{value:.4f}"
