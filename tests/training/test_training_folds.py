"""Trainings of folds: each is the training that its fold alone would be, to the last bit."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
from tiny_training import SHRUNK

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.training.batches import TrainingData
from fmnist_sweep.training.checkpoint import Checkpoint, fold_folder, weights_digest
from fmnist_sweep.training.folds import run_folds
from fmnist_sweep.training.results import EpochRecord, RunResult
from fmnist_sweep.training.rung import default_builder
from fmnist_sweep.training.train import train

pytestmark = pytest.mark.slow

# 117 images: folds of 58 and 59, which train in 3 and 2 steps an epoch.
CONFIG = compose_config(
    [
        *SHRUNK,
        "split=kfold",
        "split.folds=2",
        "split.test=13",
        "train.batch_size=29",
        "train.ema=0.9",
        "train.test_flip=true",
    ]
).run
DATASET = load_dataset(CONFIG.data)
DATA = TrainingData.of(DATASET, make_split(CONFIG.split, DATASET))


class Killed(Exception):
    """Ends the process, as far as a test can."""


def trained(folder: Path, last_epoch: int = 3, data: TrainingData = DATA) -> RunResult:
    folder.mkdir(exist_ok=True)
    return run_folds(
        CONFIG,
        data,
        last_epoch,
        folder,
        build_model=default_builder,
        on_epoch=lambda record: False,
    )


def plain(result: RunResult) -> dict[str, object]:
    """A result without what takes time."""
    timed = ("epoch_seconds", "train_seconds")
    folds = [{k: v for k, v in fold.items() if k not in timed} for fold in result.folds]
    best = {k: v for k, v in result.best_metrics.items() if k not in timed}
    parts = {k: v for k, v in vars(result).items() if k not in timed}
    return {**parts, "folds": folds, "best_metrics": best}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, Path]:
    folder = tmp_path_factory.mktemp("straight")
    return trained(folder), folder


def test_each_fold_is_trained_as_if_alone(straight: tuple[RunResult, Path]) -> None:
    result, folder = straight
    for number, data in enumerate(DATA.of_folds):
        alone = train(CONFIG, data, 0, 3, build_model=default_builder).checkpoint
        state = Checkpoint.load(fold_folder(folder, number) / "checkpoint.npz")
        assert weights_digest(state.weights) == weights_digest(alone.weights)
        assert weights_digest(state.optimizer) == weights_digest(alone.optimizer)
        for own, others in zip(state.history, alone.history, strict=True):
            assert own.metrics["val_loss"] == others.metrics["val_loss"]
    assert len(result.folds) == 2
    for name, value in (
        ("val_accuracy", result.best_metrics["val_accuracy"]),
        ("test_accuracy", result.test_accuracy),
    ):
        assert value == statistics.fmean(fold[name] for fold in result.folds)


def test_a_killed_training_goes_on_from_the_middle_of_an_epoch(
    straight: tuple[RunResult, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first fold's second epoch: that epoch is not trained again."""
    from fmnist_sweep.training import folds

    epochs: list[int] = []
    inner = folds.train_epoch

    def counted(*args: object) -> EpochRecord:
        if len(epochs) == 3:
            raise Killed
        record = inner(*args)  # type: ignore[arg-type]
        epochs.append(record.epoch)
        return record

    monkeypatch.setattr(folds, "train_epoch", counted)
    with pytest.raises(Killed):
        trained(tmp_path)
    assert epochs == [1, 1, 2]
    epochs[:] = [0] * 4
    result = trained(tmp_path)
    assert epochs[4:] == [2, 3, 3]
    assert plain(result) == plain(straight[0])


def test_a_lost_checkpoint_and_a_promotion_change_nothing(
    straight: tuple[RunResult, Path], tmp_path: Path
) -> None:
    short = trained(tmp_path, 2)
    assert short.last_epoch == 2
    for path in fold_folder(tmp_path, 1).iterdir():
        path.unlink()
    assert plain(trained(tmp_path)) == plain(straight[0])


def test_workers_map_the_same_folds(tmp_path: Path) -> None:
    DATA.save(tmp_path)
    mapped = TrainingData.mapped(tmp_path, DATASET.classes)
    for own, others in zip(mapped.of_folds, DATA.of_folds, strict=True):
        for name in ("train", "validation", "test"):
            one, other = getattr(own, name), getattr(others, name)
            assert np.array_equal(one.labels, other.labels)
            every = np.arange(len(one))
            assert np.array_equal(one.at(every), other.at(every))
