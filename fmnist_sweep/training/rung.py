"""One rung: train a config from an epoch to another, measure it, leave its best model on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.model.builder import build_cnn
from fmnist_sweep.training.batches import ImageSet
from fmnist_sweep.training.checkpoint import Checkpoint, weights_digest
from fmnist_sweep.training.evaluation import Evaluation, evaluate
from fmnist_sweep.training.results import EpochRecord, RunResult
from fmnist_sweep.training.train import (
    ModelBuilder,
    Trained,
    TrainingData,
    best_epoch,
    restore_weights,
    train,
)

CHECKPOINT_FILE = "checkpoint.npz"
BEST_MODEL_FILE = "best.keras"


def run_rung(
    config: RunConfig,
    data: TrainingData,
    last_epoch: int,
    folder: Path,
    *,
    build_model: ModelBuilder,
    on_epoch: Callable[[EpochRecord], None],
) -> RunResult:
    """Train to the end of `last_epoch` from the last epoch that `folder` has a checkpoint of.

    Leaves `checkpoint.npz` (written after every epoch, before `on_epoch` hears of it) and
    `best.keras` in `folder`. Without a usable checkpoint the training starts over, which gives
    the same result, later. `on_epoch` hears of epochs before the checkpoint again.

    Raises:
        TrialFailed: the loss is not finite.
    """
    path = folder / CHECKPOINT_FILE
    checkpoint = Checkpoint.load(path) if path.exists() else None
    for record in checkpoint.history if checkpoint is not None else ():
        on_epoch(record)

    def keep(state: Checkpoint) -> None:
        state.save(path)
        on_epoch(state.history[-1])

    try:
        trained = train(
            config,
            data,
            checkpoint.epoch if checkpoint is not None else 0,
            last_epoch,
            checkpoint,
            build_model=build_model,
            on_epoch=keep,
        )
        return _measure(config, data, trained, folder / BEST_MODEL_FILE)
    finally:
        keras.utils.clear_session()  # or graphs pile up from trial to trial


def default_builder(
    config: RunConfig, input_shape: tuple[int, int, int], classes: int
) -> keras.Model:
    """Build the CNN that `config.model` describes."""
    return build_cnn(config.model, input_shape, classes)


def evaluate_saved(path: Path, images: ImageSet) -> Evaluation:
    """Measure a saved model on a set; the file may hold no code (Keras's safe mode)."""
    try:
        return evaluate(keras.saving.load_model(path, compile=False, safe_mode=True), images)
    finally:
        keras.utils.clear_session()


def _measure(config: RunConfig, data: TrainingData, trained: Trained, path: Path) -> RunResult:
    state, model = trained.checkpoint, trained.model
    best = best_epoch(state.history, config.train.monitor)
    restore_weights(model, state.best_weights)
    test = evaluate(model, data.test)
    _save_model(model, path)
    return RunResult(
        last_epoch=state.epoch,
        best_epoch=best,
        best_metrics=state.history[best - 1].metrics,
        test_accuracy=test.accuracy,
        test_loss=test.loss,
        train_seconds=sum(record.metrics["epoch_seconds"] for record in state.history),
        parameters=model.count_params(),
        stopped_early=trained.stopped_early,
        weights_sha256=weights_digest(state.weights),
        best_weights_sha256=weights_digest(state.best_weights),
    )


def _save_model(model: keras.Model, path: Path) -> None:
    # For use, not for going on: without the optimizer's state a third of the size.
    model.optimizer = None
    temporary = path.with_name(f".{path.stem}.tmp.keras")
    model.save(temporary)
    temporary.replace(path)
