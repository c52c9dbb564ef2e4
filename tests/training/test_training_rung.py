from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorflow.python.framework.func_graph import FuncGraph
from tiny_training import PLAIN, config_of, data_of, train_to, weights_of, without_times

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import RunError, TrialFailed
from fmnist_sweep.interrupts import stop_if_asked, terminable
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.training import interrupts
from fmnist_sweep.training import rung as rungs
from fmnist_sweep.training.batches import TrainingData
from fmnist_sweep.training.checkpoint import Checkpoint, CheckpointFolder, weights_digest
from fmnist_sweep.training.evaluation import evaluate
from fmnist_sweep.training.graphs import graphs_freed
from fmnist_sweep.training.results import BEST_MODEL_FILE, EpochRecord, RunResult
from fmnist_sweep.training.rung import (
    default_builder,
    evaluate_saved,
    run_rung,
)
from fmnist_sweep.training.train import ModelBuilder


def rung(
    config: RunConfig,
    last_epoch: int,
    folder: Path,
    *,
    data: TrainingData | None = None,
    build_model: ModelBuilder = default_builder,
) -> tuple[RunResult, list[EpochRecord]]:
    """Run one, holding it to what is true of each.

    An epoch is on disk before it is heard of; the caller's random state stays as it was.
    """
    heard: list[EpochRecord] = []

    def on_epoch(record: EpochRecord) -> None:
        heard.append(record)
        on_disk = CheckpointFolder(folder).latest(last_epoch)
        assert on_disk is not None
        assert on_disk.history[: len(heard)] == tuple(heard)

    with random_state_kept():
        result = run_rung(
            config,
            data if data is not None else data_of(config),
            last_epoch,
            folder,
            build_model=build_model,
            on_epoch=on_epoch,
        )
    assert [record.epoch for record in heard] == list(range(1, result.last_epoch + 1))
    return result, heard


@contextmanager
def random_state_kept() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    yield
    assert random.getstate() == python
    np.testing.assert_equal(np.random.get_state(legacy=False), numpy)


def timeless(result: RunResult) -> dict[str, object]:
    values = asdict(result)
    del values["train_seconds"], values["best_metrics"]["epoch_seconds"]
    return values


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


LATEST = CheckpointFolder.FILES[0]
# The weights change, but too little to change an answer: of epochs that are equally good the first
# is the best, so the best epoch is not the last.
BEST_IS_FIRST = ("train.optimizer.learning_rate=1e-6",)


@dataclass
class Straight:
    config: RunConfig
    folder: Path
    result: RunResult
    heard: list[EpochRecord]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """Three epochs in one rung; its folder is for looking at."""
    config, folder = config_of(*PLAIN, *BEST_IS_FIRST), tmp_path_factory.mktemp("straight")
    return Straight(config, folder, *rung(config, 3, folder))


def test_a_result_says_where_the_training_stands(straight: Straight) -> None:
    result, heard = straight.result, straight.heard

    data = data_of(straight.config)
    states: list[Checkpoint] = []
    trained = train_to(straight.config, 3, on_epoch=states.append)
    assert without_times(tuple(heard)) == without_times(trained.checkpoint.history)
    assert (result.last_epoch, result.best_epoch, result.stopped_early) == (3, 1, False)
    assert result.best_metrics == heard[0].metrics
    assert result.train_seconds == sum(record.metrics["epoch_seconds"] for record in heard)
    assert result.parameters == trained.model.count_params()
    assert result.weights_sha256 == weights_digest(states[2].weights)
    assert result.best_weights_sha256 == weights_digest(states[0].weights)
    assert result.weights_sha256 != result.best_weights_sha256
    assert files_in(straight.folder) == {*CheckpointFolder.FILES, BEST_MODEL_FILE}

    path = straight.folder / BEST_MODEL_FILE
    with warnings.catch_warnings(action="error", category=UserWarning):
        model = keras.saving.load_model(path, safe_mode=True)
    assert weights_digest(weights_of(model)) == result.best_weights_sha256
    test = evaluate(model, data.test)
    assert {f"test_{name}": value for name, value in test.items()} == result.of_test_set
    with random_state_kept():
        assert evaluate_saved(path, data.test, result.best_weights_sha256) == test


def test_a_rung_goes_on_where_the_folder_left_off(straight: Straight, tmp_path: Path) -> None:
    _, first = rung(straight.config, 1, tmp_path)
    continued, heard = rung(straight.config, 3, tmp_path)
    repeated, heard_again = rung(straight.config, 3, tmp_path)

    assert heard[:1] == first
    assert heard_again == heard
    assert timeless(continued) == timeless(straight.result)
    assert repeated == continued


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def test_a_damaged_checkpoint_is_said_and_the_one_before_goes_on(
    straight: Straight, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(straight.folder, tmp_path, dirs_exist_ok=True)
    cut(tmp_path / LATEST)

    again, heard = rung(straight.config, 3, tmp_path)

    assert f"checkpoint {tmp_path / LATEST} cannot be read: " in caplog.text
    assert heard[:2] == straight.heard[:2]
    assert heard[2] != straight.heard[2]  # made anew: the times differ
    assert timeless(again) == timeless(straight.result)


@pytest.mark.parametrize("damage", ["deleted", "cut", "past the rung"])
def test_without_a_usable_checkpoint_it_starts_over(
    damage: str, straight: Straight, tmp_path: Path
) -> None:
    shutil.copytree(straight.folder, tmp_path, dirs_exist_ok=True)
    for name in CheckpointFolder.FILES:
        if damage == "deleted":
            (tmp_path / name).unlink()
        elif damage == "cut":
            cut(tmp_path / name)
    last_epoch = 1 if damage == "past the rung" else 3

    again, heard = rung(straight.config, last_epoch, tmp_path)

    before = straight.heard[:last_epoch]
    assert without_times(tuple(heard)) == without_times(tuple(before))
    assert heard != before  # made anew: the times differ
    if last_epoch == 3:
        assert timeless(again) == timeless(straight.result)


def test_a_checkpoint_of_another_network_is_refused(straight: Straight, tmp_path: Path) -> None:
    shutil.copy(straight.folder / LATEST, tmp_path)

    with pytest.raises(RunError, match="the checkpoint is of another network"):
        rung(config_of(), 3, tmp_path)


def test_early_stopping_counts_over_a_break(tmp_path: Path) -> None:
    config = config_of(*PLAIN, *BEST_IS_FIRST, "train.early_stopping.patience=2", "train.epochs=6")
    straight, _ = rung(config, 6, tmp_path / "straight")
    folder = tmp_path / "in rungs"

    before = [rung(config, epoch, folder)[0] for epoch in (2, 3)]
    after, _ = rung(config, 6, folder)

    assert (straight.last_epoch, straight.best_epoch, straight.stopped_early) == (3, 1, True)
    assert [result.stopped_early for result in before] == [False, False]
    assert timeless(after) == timeless(straight)


def test_without_a_validation_set_the_last_epoch_is_best(tmp_path: Path) -> None:
    result, heard = rung(config_of(*PLAIN, "split=official"), 2, tmp_path)

    assert set(heard[0].metrics) == {"loss", "accuracy", "learning_rate", "epoch_seconds"}
    assert result.best_epoch == result.last_epoch == 2
    assert result.best_weights_sha256 == result.weights_sha256
    assert result.best_metrics == heard[1].metrics


EXPLODING = (*PLAIN, "train.optimizer.name=sgd", "train.optimizer.learning_rate=1e30")


def test_a_loss_that_is_not_finite_fails_the_trial_and_names_the_epoch(tmp_path: Path) -> None:
    # A warm-up of one epoch begins with a rate of 0, and a batch is the whole epoch.
    warm = ("train.schedule.name=cosine", "train.schedule.warmup_epochs=1", "train.batch_size=70")
    with pytest.raises(TrialFailed, match="the loss is not finite in epoch 2: val_loss="):
        rung(config_of(*EXPLODING, *warm), 3, tmp_path)

    assert Checkpoint.load(tmp_path / LATEST).epoch == 1
    assert files_in(tmp_path) == {LATEST}


def test_a_test_loss_that_is_not_finite_fails_it_too(tmp_path: Path) -> None:
    # The one step's loss is still finite; what it leaves is not.
    config = config_of(*EXPLODING, "split=official", "train.epochs=null", "train.steps=1")

    with pytest.raises(TrialFailed, match="not finite in epoch 1: test_loss=nan"):
        rung(config, 1, tmp_path)


class Unsavable(keras.layers.Dense):
    def get_config(self) -> dict[str, object]:
        raise NotImplementedError


def unsavable_builder(
    config: RunConfig, input_shape: tuple[int, int, int], classes: int
) -> keras.Model:
    del config
    layers = [keras.layers.Flatten(), Unsavable(classes, activation="softmax")]
    return keras.Sequential([keras.Input(input_shape), *layers])


def test_a_model_that_cannot_be_saved_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Such a network is refused before its first epoch; here it comes to its end.
    monkeypatch.setattr(rungs, "check_network", lambda *arguments: False)
    with pytest.raises(NotImplementedError):
        rung(config_of(), 1, tmp_path, build_model=unsavable_builder)

    assert files_in(tmp_path) == {LATEST}


def silu_builder(config: RunConfig, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """TensorFlow registers silu's gradient for good, as it does the optimizer's step."""
    del config
    layers = [keras.layers.Flatten(), keras.layers.Dense(4, activation="silu")]
    output = keras.layers.Dense(classes, activation="softmax")
    return keras.Sequential([keras.Input(input_shape), *layers, output])


def graphs() -> int:
    gc.collect()
    return sum(isinstance(thing, FuncGraph) for thing in gc.get_objects())


def test_what_was_there_before_is_not_looked_at_and_not_left_frozen() -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

    assert gc.get_freeze_count() == 0
    with graphs_freed():
        inside = weakref.ref(Knot())
        assert gc.get_freeze_count() > 0
    assert inside() is None
    assert gc.get_freeze_count() == 0
    gc.freeze()
    try:
        with graphs_freed():
            inside = weakref.ref(Knot())
        assert inside() is None
        assert gc.get_freeze_count() > 0, "somebody else's stays"
    finally:
        gc.unfreeze()


def test_rungs_leave_no_graph_behind_and_keras_as_it_was(tmp_path: Path) -> None:
    config = config_of(*PLAIN)
    data = data_of(config)
    mine = train_to(config, 1).model
    mine_before = evaluate(mine, data.test)
    results = []

    def once() -> None:
        results.append(
            rung(config, 1, tmp_path / str(len(results)), data=data, build_model=silu_builder)[0]
        )

    once()
    graphs_before = graphs()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        once()
        evaluate_saved(tmp_path / "0" / BEST_MODEL_FILE, data.test, results[0].best_weights_sha256)
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert graphs() == graphs_before

    # Neither does a session that the caller clears break what is to come.
    keras.utils.clear_session()
    once()
    assert [timeless(result) for result in results] == [timeless(results[0])] * 3
    assert evaluate(mine, data.test) == mine_before


def test_a_model_file_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    path = tmp_path / BEST_MODEL_FILE
    images = data_of(config_of()).test
    with pytest.raises(RunError, match=r"model .*best\.keras cannot be loaded: "):
        evaluate_saved(path, images, "0" * 64)
    path.write_bytes(b"no model")
    with pytest.raises(RunError, match=r"model .*best\.keras cannot be loaded: "):
        evaluate_saved(path, images, "0" * 64)
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]).save(path)
    with pytest.raises(RunError, match=r"model .*best\.keras does not have the recorded weights"):
        evaluate_saved(path, images, "0" * 64)
    code = keras.layers.Lambda(lambda x: x)
    keras.Sequential([keras.Input((8, 8, 1)), code]).save(path)
    with pytest.raises(RunError, match=r"model .*best\.keras cannot be loaded: "):
        evaluate_saved(path, images, "0" * 64)


def test_it_is_interrupted_between_two_steps_and_goes_on_as_if_it_never_was(
    straight: Straight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = rung(straight.config, 1, tmp_path)
    steps = 0

    def looked() -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            os.kill(os.getpid(), signal.SIGINT)
        stop_if_asked()

    monkeypatch.setattr(interrupts, "stop_if_asked", looked)
    before = (tmp_path / CheckpointFolder.FILES[0]).read_bytes()
    with pytest.raises(KeyboardInterrupt), terminable():
        rung(straight.config, 3, tmp_path)
    assert steps == 3
    assert (tmp_path / CheckpointFolder.FILES[0]).read_bytes() == before
    monkeypatch.undo()
    result, _ = rung(straight.config, 3, tmp_path)
    assert timeless(result) == timeless(straight.result)
    assert first.last_epoch == 1


def test_costs_are_measured_where_they_are_asked_for_and_change_nothing(tmp_path: Path) -> None:
    config = config_of()
    data = data_of(config)

    def result_with(*costs: str) -> RunResult:
        folder = tmp_path / "-".join(["rung", *costs])
        return run_rung(
            config,
            data,
            1,
            folder,
            build_model=default_builder,
            on_epoch=lambda record: False,
            costs=costs,
        )

    without, measured = result_with(), result_with("mflops", "predict_ms")
    assert without.costs == {}
    plan = plan_cnn(config.model, data.image_shape, data.train.classes)
    assert measured.costs["mflops"] == plan.mflops
    assert 0.0 < measured.costs.pop("predict_ms") < 10_000.0
    assert measured.costs.pop("mflops") > 0.0
    assert timeless(measured) == timeless(without)
