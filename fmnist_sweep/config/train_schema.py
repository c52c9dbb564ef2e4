"""The `train` part of a config: budget, optimizer, schedule, loss, augmentation, averaging."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fmnist_sweep.config.metrics import monitored_metrics
from fmnist_sweep.config.model_schema import NonNegative, Positive, PositiveInt, Rate, Seed, Strict
from fmnist_sweep.config.objective_schema import AnyObjective
from fmnist_sweep.config.one_of import OneOf


class OptimizerConfig(Strict):
    """`momentum` and `nesterov` are used by sgd (and `momentum` by rmsprop) and ignored by others,
    so that a space can search over optimizers."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"]
    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)]
    nesterov: bool
    weight_decay: NonNegative
    clip_norm: Positive | None


class ScheduleConfig(Strict):
    """Learning rate by step. `final_fraction`: the fraction of the rate at the end of a cosine;
    `factor` per `every_epochs`: for step (abrupt) and exponential (smooth)."""

    name: Literal["constant", "cosine", "step", "exponential"]
    warmup_epochs: NonNegative
    final_fraction: Annotated[float, Field(ge=0.0, le=1.0)]
    every_epochs: Positive
    factor: Annotated[float, Field(gt=0.0, le=1.0)]

    @model_validator(mode="after")
    def _only_cosine_warms_up(self) -> Self:
        if self.warmup_epochs > 0 and self.name != "cosine":
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs:g} with name={self.name}: only a cosine "
                "schedule warms up; allowed here: 0"
            )
        return self


class EarlyStopping(Strict):
    """Ends a training when `train.monitor` has not improved for `patience` epochs; null disables
    it."""

    patience: PositiveInt | None
    min_delta: NonNegative


class Objective(AnyObjective):
    """A metric of which each epoch has a value."""

    metric: Annotated[str, OneOf(monitored_metrics)]


class TrainConfig(Strict):
    """One training. `epochs` is the horizon of the learning-rate schedule; a training with a budget
    in
    steps has `steps` and `epochs: null`; `stop_epoch` ends it earlier, on the same schedule.
    `threads: null` is replaced by the number of cores when a run begins."""

    epochs: PositiveInt | None
    steps: PositiveInt | None
    stop_epoch: PositiveInt | None
    batch_size: PositiveInt
    seed: Seed
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    loss: Literal["sparse_categorical_crossentropy", "categorical_crossentropy"]
    label_smoothing: Rate
    early_stopping: EarlyStopping
    monitor: Objective
    precision: Literal["float32", "mixed_bfloat16"]
    threads: PositiveInt | None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"epochs={_yaml(self.epochs)} and steps={_yaml(self.steps)}: only one can be set; "
                "set the other to null"
            )
        epochs, stop = self.epochs, self.stop_epoch
        if epochs is not None and stop is not None and stop > epochs:
            raise ValueError(f"stop_epoch={stop} is beyond epochs={epochs}")
        return self


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value)
