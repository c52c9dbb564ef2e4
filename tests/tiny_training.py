"""Trainings of a second: the shipped config, shrunk, on drawn images of 8 pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.training.batches import TrainingData
from fmnist_sweep.training.checkpoint import Arrays, Checkpoint, weights_digest
from fmnist_sweep.training.results import EpochRecord
from fmnist_sweep.training.rung import default_builder
from fmnist_sweep.training.train import ModelBuilder, Trained, train

# 130 images: 70 train in 5 steps an epoch, the last with 6 images; 40 validate, 20 test.
SHRUNK = (
    "data=synthetic",
    "data.train_size=130",
    "data.test_size=20",
    "data.image_size=8",
    "train.batch_size=16",
    "train.epochs=3",
    "model=small_cnn",
    "model.conv_blocks=[{channels: 3, dropout: 0.2}]",
    "model.fc_layers=[{neurons: 6, batch_norm: false, dropout: 0.3}]",
    "model.head.batch_norm=false",
)
TRAIN_IMAGES, STEPS = 70, 5
# Nothing random, nothing that depends on the rest of the batch: for sums by hand.
PLAIN = (
    "model.conv_blocks=[{channels: 3, batch_norm: false}]",
    "model.fc_layers=[{neurons: 6, batch_norm: false}]",
)


@cache
def config_of(*overrides: str) -> RunConfig:
    split = () if "split=official" in overrides else ("split.validation=40", "split.test=20")
    return compose_config([*SHRUNK, *split, *overrides]).run


def data_of(config: RunConfig) -> TrainingData:
    dataset = load_dataset(config.data)
    return TrainingData.of(dataset, make_split(config.split, dataset))


def train_to(
    config: RunConfig,
    last_epoch: int,
    checkpoint: Checkpoint | None = None,
    *,
    build_model: ModelBuilder = default_builder,
    on_epoch: Callable[[Checkpoint], None] | None = None,
) -> Trained:
    first = 0 if checkpoint is None else checkpoint.epoch
    return train(
        config,
        data_of(config),
        first,
        last_epoch,
        checkpoint,
        build_model=build_model,
        on_epoch=on_epoch,
    )


def through_disk(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    checkpoint.save(folder / "checkpoint.npz")
    return Checkpoint.load(folder / "checkpoint.npz")


def without_times(history: tuple[EpochRecord, ...]) -> list[dict[str, Any]]:
    records = [dataclasses.asdict(record) for record in history]
    for record in records:
        del record["ended_at"], record["metrics"]["epoch_seconds"]
    return records


def contents(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that must be equal where two trainings are the same one."""
    return {
        "weights": weights_digest(checkpoint.weights),
        "optimizer": weights_digest(checkpoint.optimizer),
        "best_weights": weights_digest(checkpoint.best_weights),
        "history": without_times(checkpoint.history),
    }


def weights_of(model: keras.Model) -> Arrays:
    return tuple(weight.numpy() for weight in model.weights)
