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
    so that a space can search over optimizers. `decays`: all weights, or kernels only, which leaves
    out biases and normalisation."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"]
    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)]
    nesterov: bool
    weight_decay: NonNegative
    decays: Literal["all", "kernels"]
    clip_norm: Positive | None


class ScheduleConfig(Strict):
    """Learning rate by step. `warmup_epochs`: it rises linearly from zero first; with one_cycle
    from 1/25, over 30 % of the training if this is 0. `final_fraction`: the fraction of the rate at
    the end of cosine, linear and one_cycle; `factor` per `every_epochs`: for step (abrupt) and
    exponential (smooth)."""

    name: Literal["constant", "cosine", "linear", "one_cycle", "step", "exponential"]
    warmup_epochs: NonNegative
    final_fraction: Annotated[float, Field(ge=0.0, le=1.0)]
    every_epochs: Positive
    factor: Annotated[float, Field(gt=0.0, le=1.0)]

    @property
    def depends_on_the_end(self) -> bool:
        """Whether the rates of the first epochs depend on how many there are in all."""
        return self.name in ("cosine", "linear", "one_cycle")


class AugmentConfig(Strict):
    """Changes of training images, drawn anew for each epoch.

    `flip` mirrors left and right: `random` half of the images, `alternating` each image in every
    second epoch. `shift`: at most so many pixels each way; `rotation`: degrees; `zoom`: a fraction.
    What comes from outside is black. `erase`: the fraction of images in which a rectangle is black
    (Zhong et al. 2017, arXiv 1708.04896). `mixup` (Zhang et al. 2017, arXiv 1710.09412) and
    `cutmix` (Yun et al. 2019, arXiv 1905.04899): alpha of their Beta distribution, 0 disables them;
    with both, each image gets one of them.
    """

    flip: Literal["none", "random", "alternating"]
    shift: Annotated[int, Field(ge=0)]
    rotation: Annotated[float, Field(ge=0.0, le=180.0)]
    zoom: Rate
    erase: Annotated[float, Field(ge=0.0, le=1.0)]
    mixup: NonNegative
    cutmix: NonNegative

    @property
    def mixes(self) -> bool:
        """Whether an image gets a part of another one, and of its label."""
        return self.mixup > 0 or self.cutmix > 0


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
    in steps has `steps` and `epochs: null`; `stop_epoch` ends it earlier, on the same schedule.
    `ema`: the decay of the weights' moving average, which is validated, tested and saved instead of
    the weights; null: none. `test_flip`: what the trained model answers is the mean for an image
    and its mirror image. `threads: null` is replaced by the number of cores when a run begins."""

    epochs: PositiveInt | None
    steps: PositiveInt | None
    stop_epoch: PositiveInt | None
    batch_size: PositiveInt
    seed: Seed
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    loss: Literal["sparse_categorical_crossentropy", "categorical_crossentropy"]
    label_smoothing: Rate
    class_weights: Literal["balanced"] | None
    augment: AugmentConfig
    ema: Annotated[float, Field(gt=0.0, lt=1.0)] | None
    test_flip: bool
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
