"""Trains a network: for a trial's rung, a baseline or a reproduction."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import keras
import numpy as np

from fmnist_sweep.config.metrics import VALIDATION
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.config.train_schema import EarlyStopping, Objective, TrainConfig
from fmnist_sweep.errors import RunError, TrialFailed
from fmnist_sweep.training.averaging import averaged
from fmnist_sweep.training.batches import TrainingData, augmentation_of
from fmnist_sweep.training.checkpoint import Arrays, Checkpoint
from fmnist_sweep.training.evaluation import evaluate
from fmnist_sweep.training.fused import fuse_batch_norm
from fmnist_sweep.training.interrupts import look_between_steps
from fmnist_sweep.training.optimizers import (
    exclude_from_decay,
    learning_rate_at,
    make_loss,
    make_optimizer,
    wants_one_hot,
)
from fmnist_sweep.training.progress import OnStep, StepWatch
from fmnist_sweep.training.randomness import epoch_order, seeded, seeded_epoch
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.training.step_loss import StepLoss
from fmnist_sweep.training.step_plan import StepPlan
from fmnist_sweep.turns import in_turn

STEPS_AT_ONCE = 4
"""Steps that TensorFlow is handed at once. It is idle between two calls, for a tenth of a small
network's step; an interrupt waits for the end of a call, so slow steps go one by one. The bits are
the same with any number."""

ModelBuilder = Callable[[RunConfig, tuple[int, int, int], int], keras.Model]
"""(config, (height, width, channels), classes) -> a model that returns class probabilities."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A training after its last epoch; `model` has that epoch's weights."""

    model: keras.Model
    checkpoint: Checkpoint
    stopped_early: bool


@in_turn()
def train(
    config: RunConfig,
    data: TrainingData,
    first_epoch: int,
    last_epoch: int,
    checkpoint: Checkpoint | None = None,
    *,
    build_model: ModelBuilder,
    on_epoch: Callable[[Checkpoint], bool] | None = None,
    every_steps: int | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train from the end of `first_epoch` (0: from the start) to the end of `last_epoch`.

    Training epochs 0..9 at once, or 0..3 and then 3..9 from the checkpoint, gives bitwise equal
    weights on the same machine with the same number of threads.

    Args:
        config: the model and its training; `train.epochs` is the schedule's horizon, regardless of
            the rung.
        data: the sets.
        first_epoch: the checkpoint's epoch, 0 without one.
        last_epoch: the last epoch to train; early stopping may end the training earlier.
        checkpoint: the state to continue from.
        build_model: builds the network.
        on_epoch: called with the state after each epoch; returns whether to stop.
        every_steps: for a budget in steps, record the loss this often too.
        on_step: progress callback, called a few times a second; None disables it.

    Raises:
        TrialFailed: the loss is not finite; the message names the epoch.
        RunError: the checkpoint is of another network.
    """
    plan = StepPlan.of(config.train, len(data.train))
    if first_epoch != (0 if checkpoint is None else checkpoint.epoch):
        raise ValueError(f"epoch {first_epoch} is not the checkpoint's epoch")
    if not first_epoch <= last_epoch <= plan.epochs or last_epoch == 0:
        raise ValueError(f"epochs {first_epoch} to {last_epoch} of {plan.epochs} cannot be trained")
    model = compiled_model(config, data, plan, build_model)
    if checkpoint is not None:
        restore(model, checkpoint)
    watch = None if on_step is None else StepWatch(on_step, last_epoch)
    state, stopped = checkpoint, False
    for epoch in range(first_epoch + 1, last_epoch + 1):
        stopped = state is not None and stops_early(
            state.history, config.train.early_stopping, config.train.monitor
        )
        if stopped:
            break
        record = train_epoch(model, config.train, data, plan, epoch, every_steps, watch)
        state = _advance(model, config.train.monitor, state, record)
        if on_epoch is not None and on_epoch(state):
            break
    assert state is not None  # there was a checkpoint or an epoch to train
    return Trained(model, state, stopped)


def best_epoch(history: tuple[EpochRecord, ...], monitor: Objective) -> int:
    """Return the epoch with the best monitored metric, the earliest of equals.

    Without a validation set this is the last epoch.
    """
    best, best_score = history[-1].epoch, None
    for record in history:
        score = record.metrics.get(monitor.metric)
        if score is not None and monitor.better(score, best_score):
            best, best_score = record.epoch, score
    return best


def build_network(config: RunConfig, data: TrainingData, build_model: ModelBuilder) -> keras.Model:
    """Build a config's network, with its seed and precision, for images of the data."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.train.precision)
    try:
        with seeded(config.train.seed):
            model = build_model(config, data.image_shape, data.train.classes)
            # A user's Sequential, or the layers of a subclass, may be built only with their first
            # images, but the optimizer needs the weights before.
            if isinstance(model, keras.Sequential) and not model.built:
                model.build((None, *data.image_shape))
            elif isinstance(model, keras.Model) and not model.built:
                model(np.zeros((1, *data.image_shape), np.float32), training=False)
    finally:
        keras.config.set_dtype_policy(policy)
    return model


def compiled_model(
    config: RunConfig, data: TrainingData, plan: StepPlan, build_model: ModelBuilder
) -> keras.Model:
    """Build a config's network, ready to be trained by `train_epoch`."""
    model = build_network(config, data, build_model)
    fuse_batch_norm(model)
    optimizer = make_optimizer(config.train, plan.per_epoch, plan.total)
    model.compile(optimizer, loss=make_loss(config.train), metrics=["accuracy"])
    exclude_from_decay(config.train.optimizer, optimizer, model.trainable_variables)
    optimizer.build(model.trainable_variables)
    _build_metrics(model, config.train, data.train.classes)
    look_between_steps(model)
    return model


def _build_metrics(model: keras.Model, config: TrainConfig, classes: int) -> None:
    # Metrics create their variables on first use. During tracing of a step this would make
    # TensorFlow trace it again, half a second per rung.
    targets = np.zeros((1, classes) if wants_one_hot(config) else 1)
    model.compute_metrics(None, targets, np.zeros((1, classes), np.float32))


def train_epoch(
    model: keras.Model,
    config: TrainConfig,
    data: TrainingData,
    plan: StepPlan,
    epoch: int,
    every_steps: int | None,
    watch: StepWatch | None,
) -> EpochRecord:
    """Train a compiled model, which stands at the end of the epoch before, for one epoch.

    Raises:
        TrialFailed: the loss is not finite.
    """
    started = time.perf_counter()
    batches = data.train.shuffled(
        epoch_order(config.seed, epoch, len(data.train)),
        config.batch_size,
        plan.of_epoch(epoch),
        one_hot=wants_one_hot(config),
        weigh_classes=config.class_weights == "balanced",
        augmentation=augmentation_of(config, data.train),
        epoch=epoch,
    )
    steps = None
    if every_steps is not None and config.steps is not None:
        steps = StepLoss(
            plan.before(epoch),
            every_steps,
            batch_size=config.batch_size,
            images=len(data.train),
        )
    with seeded_epoch(model, config.seed, epoch):
        callbacks = [] if steps is None else [steps.callback]
        told = nullcontext() if watch is None else watch.epoch(model, epoch, plan.of_epoch(epoch))
        # Each step's loss is asked for: then each is a call of its own.
        at_once = STEPS_AT_ONCE if steps is None else 1
        with model.train_function.epoch(plan.of_epoch(epoch), at_once), told:
            fitted = model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)
        logs = fitted.history
        metrics = {"loss": float(logs["loss"][0]), "accuracy": float(logs["accuracy"][0])}
        if data.validation is not None:
            with averaged(model):
                metrics |= evaluate(model, data.validation, VALIDATION)
    check_finite(epoch, metrics)
    # The rate of the last step; Keras reports the next step's, which is not used at a cosine's end.
    step = plan.before(epoch) + plan.of_epoch(epoch) - 1
    metrics["learning_rate"] = learning_rate_at(config, plan.per_epoch, plan.total, step)
    metrics["epoch_seconds"] = time.perf_counter() - started
    step_loss = () if steps is None else tuple(steps.pairs)
    return EpochRecord(epoch, metrics, ended_at=time.time(), step_loss=step_loss)


def check_finite(epoch: int, metrics: Mapping[str, float]) -> None:
    """Raise TrialFailed, naming epoch and metric, if a metric is not finite; the loss comes
    first."""
    for name in sorted(metrics, key=lambda name: not name.endswith("loss")):
        if not math.isfinite(metrics[name]):
            what = "the loss" if name.endswith("loss") else "a metric"
            raise TrialFailed(f"{what} is not finite in epoch {epoch}: {name}={metrics[name]}")


def _advance(
    model: keras.Model, monitor: Objective, before: Checkpoint | None, record: EpochRecord
) -> Checkpoint:
    history = (*(before.history if before is not None else ()), record)
    weights = arrays_of(model.weights)
    if before is None or best_epoch(history, monitor) == record.epoch:
        with averaged(model) as averages:
            best_weights = arrays_of(model.weights) if averages else weights
    else:
        best_weights = before.best_weights
    return Checkpoint(
        weights=weights,
        optimizer=arrays_of(model.optimizer.variables),
        best_weights=best_weights,
        history=history,
    )


def averaged_weights(model: keras.Model) -> Arrays:
    """Return the weights that a model is measured with: averages, if the training makes them."""
    with averaged(model):
        return arrays_of(model.weights)


def restore(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Set weights and optimizer to those of a checkpoint."""
    restore_weights(model, checkpoint.weights)
    _assign(model.optimizer.variables, checkpoint.optimizer)


def restore_weights(model: keras.Model, weights: Arrays) -> None:
    """Set the model's weights, in the order of `model.weights`."""
    _assign(model.weights, weights)


def _assign(variables: list[keras.Variable], arrays: Arrays) -> None:
    wanted = [(tuple(variable.shape), variable.dtype) for variable in variables]
    if wanted != [(array.shape, array.dtype.name) for array in arrays]:
        raise RunError("the checkpoint is of another network or optimizer than the config's")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def arrays_of(variables: list[keras.Variable]) -> Arrays:
    """Return the values of variables, in their order."""
    return tuple(np.asarray(variable.numpy()) for variable in variables)


def stops_early(
    history: tuple[EpochRecord, ...], config: EarlyStopping, monitor: Objective
) -> bool:
    """Whether the metric has not improved for `patience` epochs, counted as by Keras's callback.

    Without a validation set the metric is missing, and training does not stop early.
    """
    if config.patience is None:
        return False
    best, waited = -math.inf, 0
    for record in history:
        if monitor.metric not in record.metrics:
            return False
        score = monitor.sign * record.metrics[monitor.metric]
        if score > best + config.min_delta:
            best, waited = score, 0
        else:
            waited += 1
    return waited >= config.patience
