"""Creates optimizers, learning-rate schedules and losses from a config."""

from __future__ import annotations

import keras

from fmnist_sweep.config.train_schema import OptimizerConfig, ScheduleConfig, TrainConfig
from fmnist_sweep.training.fused import FusedAdam, FusedAdamW


def make_optimizer(
    config: TrainConfig, steps_per_epoch: int, horizon_steps: int
) -> keras.optimizers.Optimizer:
    """Return the optimizer, with its schedule over `horizon_steps`."""
    optimizer = config.optimizer
    common = {
        "learning_rate": make_schedule(
            config.schedule, optimizer.learning_rate, steps_per_epoch, horizon_steps
        ),
        "weight_decay": _weight_decay(optimizer),
        "global_clipnorm": optimizer.clip_norm,
    }
    match optimizer.name:
        case "adam":
            return FusedAdam(**common)
        case "adamw":
            return FusedAdamW(**common)
        case "sgd":
            return keras.optimizers.SGD(
                momentum=optimizer.momentum, nesterov=optimizer.nesterov, **common
            )
        case "rmsprop":
            return keras.optimizers.RMSprop(momentum=optimizer.momentum, **common)


def make_schedule(
    config: ScheduleConfig, learning_rate: float, steps_per_epoch: int, horizon_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate as a number, or as a function of the optimizer's step.

    The step is part of the optimizer's state, so a checkpoint includes the schedule's position.
    Cosine with linear warm-up: Loshchilov & Hutter 2017 (arXiv 1608.03983), without restarts.
    """
    schedules = keras.optimizers.schedules
    match config.name:
        case "constant":
            return learning_rate
        case "cosine":
            warmup = round(config.warmup_epochs * steps_per_epoch)
            return schedules.CosineDecay(
                initial_learning_rate=0.0 if warmup else learning_rate,
                decay_steps=max(1, horizon_steps - warmup),
                alpha=config.final_fraction,
                warmup_target=learning_rate if warmup else None,
                warmup_steps=warmup,
            )
        case "step" | "exponential":
            return schedules.ExponentialDecay(
                learning_rate,
                decay_steps=max(1, round(config.every_epochs * steps_per_epoch)),
                decay_rate=config.factor,
                staircase=config.name == "step",
            )


def learning_rate_at(
    config: TrainConfig, steps_per_epoch: int, horizon_steps: int, step: int
) -> float:
    """Return the learning rate of a step (from 0)."""
    schedule = make_schedule(
        config.schedule, config.optimizer.learning_rate, steps_per_epoch, horizon_steps
    )
    return schedule if isinstance(schedule, float) else float(schedule(step))


def make_loss(config: TrainConfig) -> keras.losses.Loss:
    """Return the cross-entropy for one-hot or integer targets."""
    if wants_one_hot(config):
        return keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy()


def wants_one_hot(config: TrainConfig) -> bool:
    """Whether targets are one-hot rows, which label smoothing requires."""
    return config.loss == "categorical_crossentropy" or config.label_smoothing > 0


def _weight_decay(config: OptimizerConfig) -> float | None:
    # With a decay, even 0, Keras multiplies every weight by (1 - rate * decay); AdamW requires a
    # number, the others skip it without one.
    if config.name == "adamw" or config.weight_decay > 0:
        return config.weight_decay
    return None
