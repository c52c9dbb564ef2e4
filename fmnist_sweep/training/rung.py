"""Trains a config from one epoch to another, evaluates it, and saves its best model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.metrics import TEST
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import RunError
from fmnist_sweep.files import put_in_place
from fmnist_sweep.interrupts import interrupts_deferred
from fmnist_sweep.model.builder import build_cnn
from fmnist_sweep.reasons import reason_of
from fmnist_sweep.training.autologging import autologging_off
from fmnist_sweep.training.batches import ImageSet, TrainingData
from fmnist_sweep.training.calculation import usual_calculation
from fmnist_sweep.training.checkpoint import Checkpoint, CheckpointFolder, weights_digest
from fmnist_sweep.training.costs import measured_costs
from fmnist_sweep.training.evaluation import evaluate, probabilities
from fmnist_sweep.training.graphs import graphs_freed
from fmnist_sweep.training.mirrored import with_mirror_images
from fmnist_sweep.training.network_check import check_network
from fmnist_sweep.training.progress import OnStep
from fmnist_sweep.training.randomness import seeded, seeded_epoch
from fmnist_sweep.training.results import BEST_MODEL_FILE, EpochRecord, RunResult
from fmnist_sweep.training.train import (
    ModelBuilder,
    Trained,
    arrays_of,
    best_epoch,
    check_finite,
    restore_weights,
    train,
)
from fmnist_sweep.turns import in_turn

_log = logging.getLogger(__name__)


@in_turn()
@autologging_off()
@interrupts_deferred()
@graphs_freed()
@usual_calculation()
def run_rung(
    config: RunConfig,
    data: TrainingData,
    last_epoch: int,
    folder: Path,
    *,
    first_epoch: int = 0,
    build_model: ModelBuilder,
    on_epoch: Callable[[EpochRecord], bool],
    every_steps: int | None = None,
    on_step: OnStep | None = None,
    costs: Sequence[str] = (),
) -> RunResult:
    """Train to the end of `last_epoch`, continuing from the checkpoint in `folder`.

    Writes `best.keras` and the checkpoints of the last two epochs to `folder`, each before
    `on_epoch` is called with its epoch. Without a usable checkpoint (none, damaged, or past
    `last_epoch`) the training starts over, with the same result; this is logged if there should be
    one, of `first_epoch` or later. `on_epoch` is also called for the epochs before the checkpoint,
    and returns whether to stop after
    the last one. `every_steps`, `on_step`: as in `train`. `costs` are measured besides.

    Raises:
        ConfigError: a user's builder returns a network that cannot be trained, see `check_network`;
            before the first epoch.
        TrialFailed: the loss is not finite.
        RunError: the checkpoint is of another network.
        KeyboardInterrupt: between two steps.
    """
    checkpoints = CheckpointFolder(folder)
    checkpoint = checkpoints.latest(last_epoch)
    if checkpoint is None and first_epoch > 0:
        _log.warning("%s: the checkpoint is missing; training from the start", folder.name)
    for record in checkpoint.history if checkpoint is not None else ():
        if on_epoch(record):
            last_epoch = record.epoch

    def keep(state: Checkpoint) -> bool:
        checkpoints.save(state)
        return on_epoch(state.history[-1])

    if checkpoint is None and build_model is not default_builder:
        check_network(config, data, build_model, folder)
    trained = train(
        config,
        data,
        checkpoint.epoch if checkpoint is not None else 0,
        last_epoch,
        checkpoint,
        build_model=build_model,
        on_epoch=keep,
        every_steps=every_steps,
        on_step=on_step,
    )
    return _measure(config, data, trained, folder / BEST_MODEL_FILE, costs)


def default_builder(
    config: RunConfig, input_shape: tuple[int, int, int], classes: int
) -> keras.Model:
    """Build the CNN of `config.model`."""
    return build_cnn(config.model, input_shape, classes)


@in_turn()
@interrupts_deferred()
@graphs_freed()
@usual_calculation()
def evaluate_saved(path: Path, images: ImageSet, sha256: str) -> dict[str, float]:
    """Return a saved model's metrics on a set, by name; see `load_saved`."""
    with seeded(0):  # random layers take their seeds from Python's generator
        return evaluate(load_saved(path, sha256), images)


@in_turn()
@interrupts_deferred()
@graphs_freed()
@usual_calculation()
def answers_of_saved(path: Path, images: ImageSet, sha256: str) -> NDArray[np.float64]:
    """Return a saved model's class probabilities for a set, (n, classes); see `load_saved`."""
    with seeded(0):
        return probabilities(load_saved(path, sha256), images)


@in_turn()
@usual_calculation()
def load_saved(path: Path, sha256: str) -> keras.Model:
    """Load a model and check its weights; the file must not contain code (Keras's safe mode).

    Raises:
        RunError: the file cannot be loaded, or has other weights; the message names it.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a user's layer may raise any error
        raise RunError(f"model {path} cannot be loaded: {reason_of(error)}") from error
    if weights_digest(arrays_of(model.weights)) != sha256:
        raise RunError(f"model {path} does not have the recorded weights")
    return model


def _measure(
    config: RunConfig, data: TrainingData, trained: Trained, path: Path, costs: Sequence[str]
) -> RunResult:
    state, model = trained.checkpoint, trained.model
    best = best_epoch(state.history, config.train.monitor)
    restore_weights(model, state.best_weights)
    if config.train.test_flip:
        model = with_mirror_images(model, data.image_shape)
    with seeded_epoch(model, config.train.seed, best):
        test = evaluate(model, data.test, TEST)
        measured = measured_costs(costs, config, model, data.image_shape, data.train.classes)
    check_finite(best, test)
    _save_model(model, path)
    return RunResult(
        last_epoch=state.epoch,
        best_epoch=best,
        best_metrics=state.history[best - 1].metrics,
        test_accuracy=test.pop("test_accuracy"),
        test_loss=test.pop("test_loss"),
        test_metrics=test,
        costs=measured,
        train_seconds=sum(record.metrics["epoch_seconds"] for record in state.history),
        parameters=model.count_params(),
        stopped_early=trained.stopped_early,
        weights_sha256=weights_digest(state.weights),
        best_weights_sha256=weights_digest(state.best_weights),
    )


def _save_model(model: keras.Model, path: Path) -> None:
    # For inference only: without the optimizer's state the file is a third of the size.
    model.optimizer, model.compiled = None, False
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    try:
        model.save(temporary)
        put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
