"""Trains rungs, in any process."""

from __future__ import annotations

from functools import partial

from fmnist_sweep.executors.protocol import OnEpoch, OnRungStep, Rung, Train
from fmnist_sweep.training.batches import TrainingData
from fmnist_sweep.training.folds import run_folds
from fmnist_sweep.training.results import RunResult
from fmnist_sweep.training.rung import default_builder, run_rung
from fmnist_sweep.training.train import ModelBuilder


def trainer(
    data: TrainingData,
    build_model: ModelBuilder | None,
    every_steps: int | None,
    on_step: OnRungStep | None = None,
) -> Train:
    """Return a function that trains a rung on the data, in any process."""

    def train(rung: Rung, on_epoch: OnEpoch) -> RunResult:
        if data.folds and not rung.whole:
            return run_folds(
                rung.config,
                data,
                rung.last_epoch,
                rung.folder,
                first_epoch=rung.first_epoch,
                build_model=build_model or default_builder,
                checks_network=build_model is not None,
                on_epoch=on_epoch,
                on_step=None if on_step is None else partial(on_step, rung),
                costs=rung.costs,
            )
        return run_rung(
            rung.config,
            data,
            rung.last_epoch,
            rung.folder,
            first_epoch=rung.first_epoch,
            build_model=build_model or default_builder,
            on_epoch=on_epoch,
            every_steps=every_steps,
            on_step=None if on_step is None else partial(on_step, rung),
            costs=rung.costs,
        )

    return train
