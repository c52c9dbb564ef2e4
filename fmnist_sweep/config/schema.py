"""The whole config, strictly validated: unknown keys, wrong types and values out of range are
errors.

All defaults are in `conf/`; the fields have none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from fmnist_sweep.config.data_schema import DataConfig, SplitConfig
from fmnist_sweep.config.metrics import (
    MFLOPS,
    PREDICT_MS,
    leaderboard_metrics,
    validation_metrics,
)
from fmnist_sweep.config.model_schema import (
    ModelConfig,
    NonNegative,
    Positive,
    PositiveInt,
    Strict,
)
from fmnist_sweep.config.objective_schema import AnyObjective, Bound, check_objectives
from fmnist_sweep.config.one_of import OneOf
from fmnist_sweep.config.record_schema import Expected, Reported
from fmnist_sweep.config.scheduler_schema import SchedulerConfig
from fmnist_sweep.config.train_schema import Objective, TrainConfig
from fmnist_sweep.config.tuner_schema import TunerConfig

SweepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
SCHEMA_VERSION = 1
"""Incremented when a config file of an earlier version would change its meaning."""


def check_schema_version(version: Any) -> None:
    """Raise ValueError if a config is of another version than this package reads."""
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"schema_version={version}: this version of fmnist_sweep reads {SCHEMA_VERSION}; "
            "export the config from its run again, or use the version that wrote it"
        )


class Confirm(Strict):
    """Retrain the `top` trials with `seeds` new seeds each before the official test."""

    top: PositiveInt
    seeds: Annotated[int, Field(ge=2)]


class SweepConfig(Strict):
    """A search: its budgets (the first one reached ends it), its objective, its limits. `metrics`:
    what leaderboards show besides. With several `objectives`, `objective` is their first, and
    `choose` bounds the others for the winner."""

    name: SweepName | None
    max_trials: PositiveInt | None
    max_epochs_total: PositiveInt | None
    max_minutes: Positive | None
    objective: Objective
    objectives: Annotated[list[AnyObjective], Field(min_length=2, max_length=3)] | None
    choose: dict[str, Bound] | None
    metrics: list[Annotated[str, OneOf(leaderboard_metrics)]]
    start_with: list[dict[str, Any]]
    learn_from: list[str]
    confirm: Confirm | None
    max_failure_rate: Annotated[float, Field(ge=0.0, le=1.0)]
    max_parameters: PositiveInt | None
    max_mflops: Positive | None

    @model_validator(mode="after")
    def _a_validation_metric(self) -> Self:
        if self.objective.metric not in validation_metrics():
            raise ValueError(
                f"objective.metric={self.objective.metric} is not a validation metric; "
                f"allowed: {', '.join(validation_metrics())}"
            )
        check_objectives(self.objectives or [], self.choose or {})
        return self

    @property
    def further_objectives(self) -> tuple[AnyObjective, ...]:
        """The objectives beside `objective`."""
        return tuple((self.objectives or [])[1:])

    @property
    def measured_costs(self) -> tuple[str, ...]:
        """The costs among the objectives that a training measures only where it is asked to."""
        names = (objective.metric for objective in self.further_objectives)
        return tuple(name for name in names if name in (MFLOPS, PREDICT_MS))


class InlineConfig(Strict):
    """Rungs are trained one after another in the program's own process."""

    name: Literal["inline"]

    @property
    def workers(self) -> int:
        """Number of rungs trained at a time."""
        return 1

    def threads_of(self, cores: int) -> int:
        """Return a worker's number of threads on a machine with so many cores."""
        return cores


class ProcessesConfig(Strict):
    """Rungs are trained in `workers` processes, which share the threads. If a process dies, its
    rung is retried, at most `retries` times without a new epoch."""

    name: Literal["processes"]
    workers: PositiveInt
    retries: Annotated[int, Field(ge=0)]

    def threads_of(self, cores: int) -> int:
        """Return a worker's number of threads: its share of the cores."""
        return max(1, cores // self.workers)


class RayConfig(Strict):
    """Rungs are trained by Ray: on this machine, or on the running cluster with an `address`.

    `workers: null`: as many as fit, also on nodes that join. `cpus` and `gpus` are of each worker.
    Its checkpoints come back at the end of a rung and every `checkpoint_minutes`; from there the
    rung of a worker that died is retried, at most `retries` times without a new epoch.
    """

    name: Literal["ray"]
    address: Annotated[str, Field(pattern=r"^(auto|[A-Za-z0-9._-]+:[0-9]{1,5})$")] | None
    workers: PositiveInt | None
    cpus: Positive
    gpus: NonNegative
    retries: Annotated[int, Field(ge=0)]
    checkpoint_minutes: NonNegative

    def threads_of(self, cores: int) -> int:
        """Return a worker's number of threads, regardless of this machine."""
        return max(1, int(self.cpus))


ExecutorConfig = Annotated[InlineConfig | ProcessesConfig | RayConfig, Field(discriminator="name")]


class TrackingConfig(Strict):
    """MLflow. `uri: null` means MLFLOW_TRACKING_URI if set, else the local store. For a training
    with a budget in steps, the loss is also logged every `every_steps` steps. `keep_checkpoints`:
    the number of trials in a sweep whose best models are kept, the best ones. `registered_model`:
    the name under which winners of sweeps are registered; `auto`: the data's name and `-cnn`; null:
    not registered."""

    enabled: bool
    uri: str | None
    experiment: str | None
    tags: dict[str, str]
    note: str | None
    every_steps: PositiveInt | None
    keep_checkpoints: PositiveInt | None
    registered_model: ModelName | None

    @field_validator("tags")
    @classmethod
    def _none_that_is_a_request(cls, tags: dict[str, str]) -> dict[str, str]:
        if "stop" in tags:
            raise ValueError("tags.stop stops every trial; allowed: other names")
        return tags


class RunConfig(Strict):
    """The config of one training: of a trial, a baseline or a reproduction."""

    data: DataConfig
    split: SplitConfig
    model: ModelConfig
    train: TrainConfig

    def as_given(self) -> dict[str, Any]:
        """Return data, split, model and train as plain values, `model` as it was written."""
        parts = self.model_dump(include={"data", "split", "train"})
        return {**parts, "model": self.model.as_given()}


class Config(RunConfig):
    """The whole config of the program. A `space` (or `variants`) makes it a sweep. `expected` is
    the record that a rerun is compared with, `reported` the published results of the same training.
    `report`:
    whether a sweep ends with pictures and a report. `display`: what the console shows while a sweep
    runs; `auto` is `live` in a terminal, else `lines`."""

    schema_version: int
    tuner: TunerConfig
    scheduler: SchedulerConfig
    executor: ExecutorConfig
    tracking: TrackingConfig
    sweep: SweepConfig
    space: dict[str, Any] | None
    variants: dict[str, dict[str, Any]] | None
    expected: Expected | None
    reported: Reported | None
    report: bool
    display: Literal["auto", "live", "lines", "quiet"]

    @field_validator("space", mode="before")
    @classmethod
    def _words_as_keys(cls, space: Any) -> Any:
        # Block numbers are converted to strings, so that they sort with `count` and `each`.
        return _with_words_as_keys(space)

    @model_validator(mode="after")
    def _of_this_version(self) -> Self:
        check_schema_version(self.schema_version)
        return self

    @property
    def epochs_set_by(self) -> str | None:
        """What decides for how many epochs a point is trained, such as `tuner=hyperband`; None:
        each point's own config."""
        if self.tuner.sets_epochs:
            return f"tuner={self.tuner.name}"
        return f"scheduler={self.scheduler.name}" if self.scheduler.sets_epochs else None

    @property
    def is_sweep(self) -> bool:
        """Whether this config describes a search, not a single training."""
        return bool(self.space) or bool(self.variants)

    @property
    def run(self) -> RunConfig:
        """The part used by a single training."""
        return RunConfig.model_validate(RunConfig.as_given(self))


def _with_words_as_keys(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _with_words_as_keys(value) for key, value in node.items()}
    return node
