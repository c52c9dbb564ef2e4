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
    if config.ema is not None:
        common |= {"use_ema": True, "ema_momentum": config.ema}
    match optimizer.name:
        case "adam":
            made = FusedAdam(**common)
        case "adamw":
            made = FusedAdamW(**common)
        case "sgd":
            made = keras.optimizers.SGD(
                momentum=optimizer.momentum, nesterov=optimizer.nesterov, **common
            )
        case "rmsprop":
            made = keras.optimizers.RMSprop(momentum=optimizer.momentum, **common)
    # `fit` calls it at its end, here after each epoch, and it replaces the weights by the averages.
    made.finalize_variable_values = lambda weights: None
    return made


def exclude_from_decay(
    config: OptimizerConfig, optimizer: keras.optimizers.Optimizer, weights: list[keras.Variable]
) -> None:
    """Leave biases and the weights of normalisations, which are vectors, out of the decay if the
    config says so; called before the optimizer is built."""
    if config.decays == "kernels":
        optimizer.exclude_from_weight_decay([w for w in weights if len(w.shape) < 2])


def make_schedule(
    config: ScheduleConfig, learning_rate: float, steps_per_epoch: int, horizon_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate as a number, or as a function of the optimizer's step.

    The step is part of the optimizer's state, so a checkpoint includes the schedule's position.
    Cosine with linear warm-up: Loshchilov & Hutter 2017 (arXiv 1608.03983), without restarts.
    One-cycle: Smith & Topin 2017 (arXiv 1708.07120), falling as a cosine, with a constant momentum.
    """
    schedules = keras.optimizers.schedules
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if config.name == "one_cycle" and warmup == 0:
        warmup = round(_ONE_CYCLE_RISE * horizon_steps)
    falling = max(1, horizon_steps - warmup)
    match config.name:
        case "constant":
            after: float | keras.optimizers.schedules.LearningRateSchedule = learning_rate
        case "cosine":
            return schedules.CosineDecay(
                initial_learning_rate=0.0 if warmup else learning_rate,
                decay_steps=falling,
                alpha=config.final_fraction,
                warmup_target=learning_rate if warmup else None,
                warmup_steps=warmup,
            )
        case "linear":
            after = schedules.PolynomialDecay(
                learning_rate, falling, learning_rate * config.final_fraction
            )
        case "one_cycle":
            after = schedules.CosineDecay(learning_rate, falling, alpha=config.final_fraction)
        case "step" | "exponential":
            after = schedules.ExponentialDecay(
                learning_rate,
                decay_steps=max(1, round(config.every_epochs * steps_per_epoch)),
                decay_rate=config.factor,
                staircase=config.name == "step",
            )
    start = _ONE_CYCLE_START if config.name == "one_cycle" else 0.0
    return _WarmUp(learning_rate, start, warmup, after) if warmup else after


_ONE_CYCLE_START, _ONE_CYCLE_RISE = 1 / 25, 0.3
"""The first rate as a fraction of the highest, and the rising part of the training; those of
fastai's and PyTorch's one-cycle schedules."""


class _WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # no types
    """Rises linearly from `start` times the rate to the rate in `steps`; then `after`, from its
    beginning."""

    def __init__(
        self,
        rate: float,
        start: float,
        steps: int,
        after: float | keras.optimizers.schedules.LearningRateSchedule,
    ) -> None:
        self._rate, self._start, self._steps, self._after = rate, start, steps, after

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        """Return the rate of a step (from 0)."""
        done = keras.ops.cast(step, "float32") / self._steps
        rising = self._rate * (self._start + (1.0 - self._start) * done)
        over = keras.ops.maximum(step - self._steps, 0)
        after = self._after(over) if callable(self._after) else self._after
        return keras.ops.where(done < 1.0, rising, after)


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
    """Whether targets are rows of probabilities, which smoothed and mixed labels require."""
    return (
        config.loss == "categorical_crossentropy"
        or config.label_smoothing > 0
        or config.augment.mixes
    )


def _weight_decay(config: OptimizerConfig) -> float | None:
    # With a decay, even 0, Keras multiplies every weight by (1 - rate * decay); AdamW requires a
    # number, the others skip it without one.
    if config.name == "adamw" or config.weight_decay > 0:
        return config.weight_decay
    return None
