from __future__ import annotations

import gc
import random
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorflow.python.framework.func_graph import FuncGraph
from tiny_training import PLAIN, config_of, data_of, train_to, weights_of, without_times

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import RunError, TrialFailed
from fmnist_sweep.training.checkpoint import Checkpoint, weights_digest
from fmnist_sweep.training.evaluation import evaluate
from fmnist_sweep.training.results import EpochRecord, RunResult
from fmnist_sweep.training.rung import (
    BEST_MODEL_FILE,
    CHECKPOINT_FILE,
    default_builder,
    evaluate_saved,
    run_rung,
)
from fmnist_sweep.training.train import ModelBuilder, TrainingData


def rung(
    config: RunConfig,
    last_epoch: int,
    folder: Path,
    *,
    data: TrainingData | None = None,
    build_model: ModelBuilder = default_builder,
) -> tuple[RunResult, list[EpochRecord]]:
    """Run one, holding it to its word: an epoch is on disk before it is heard of."""
    heard: list[EpochRecord] = []

    def on_epoch(record: EpochRecord) -> None:
        heard.append(record)
        on_disk = Checkpoint.load(folder / CHECKPOINT_FILE)
        assert on_disk.history[: len(heard)] == tuple(heard)

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


def timeless(result: RunResult) -> dict[str, object]:
    values = result.to_json()
    del values["train_seconds"], values["best_metrics"]["epoch_seconds"]
    return values


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# The metric gets worse and worse, so that the best epoch is not the last.
BEST_IS_FIRST = ("train.monitor.metric=loss", "train.monitor.direction=max")


def test_a_result_says_where_the_training_stands(tmp_path: Path) -> None:
    config = config_of(*BEST_IS_FIRST)
    result, heard = rung(config, 3, tmp_path)

    data = data_of(config)
    straight = train_to(config, 3)
    state = straight.checkpoint
    assert without_times(tuple(heard)) == without_times(state.history)
    assert (result.last_epoch, result.best_epoch, result.stopped_early) == (3, 1, False)
    assert result.best_metrics == heard[0].metrics
    assert result.train_seconds == sum(record.metrics["epoch_seconds"] for record in heard)
    assert result.parameters == straight.model.count_params()
    assert result.weights_sha256 == weights_digest(state.weights)
    assert result.best_weights_sha256 == weights_digest(train_to(config, 1).checkpoint.weights)
    assert result.weights_sha256 != result.best_weights_sha256
    assert files_in(tmp_path) == {CHECKPOINT_FILE, BEST_MODEL_FILE}

    with warnings.catch_warnings(action="error", category=UserWarning):
        model = keras.saving.load_model(tmp_path / BEST_MODEL_FILE, safe_mode=True)
    assert weights_digest(weights_of(model)) == result.best_weights_sha256
    test = evaluate(model, data.test)
    assert (test.accuracy, test.loss) == (result.test_accuracy, result.test_loss)
    assert evaluate_saved(tmp_path / BEST_MODEL_FILE, data.test) == test


def test_a_rung_goes_on_where_the_folder_left_off(tmp_path: Path) -> None:
    config = config_of(*BEST_IS_FIRST)
    straight, _ = rung(config, 3, tmp_path / "straight")
    folder = tmp_path / "in rungs"

    _, first = rung(config, 1, folder)
    continued, heard = rung(config, 3, folder)
    repeated, heard_again = rung(config, 3, folder)

    assert heard[:1] == first
    assert heard_again == heard
    assert timeless(continued) == timeless(repeated) == timeless(straight)
    assert repeated == continued


@pytest.mark.parametrize("damage", ["deleted", "cut", "past the rung"])
def test_without_a_usable_checkpoint_it_starts_over(damage: str, tmp_path: Path) -> None:
    config = config_of()
    expected, first = rung(config, 2, tmp_path)
    checkpoint = tmp_path / CHECKPOINT_FILE
    if damage == "deleted":
        checkpoint.unlink()
    elif damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    else:
        rung(config, 3, tmp_path)

    again, heard = rung(config, 2, tmp_path)

    assert timeless(again) == timeless(expected)
    assert heard != first
    assert without_times(tuple(heard)) == without_times(tuple(first))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    rung(config_of(), 1, tmp_path)

    with pytest.raises(RunError, match="the checkpoint is of another network"):
        rung(config_of(*PLAIN), 2, tmp_path)


def test_early_stopping_counts_over_a_break(tmp_path: Path) -> None:
    config = config_of(*BEST_IS_FIRST, "train.early_stopping.patience=2", "train.epochs=6")
    straight, _ = rung(config, 6, tmp_path / "straight")
    folder = tmp_path / "in rungs"

    before = [rung(config, epoch, folder)[0] for epoch in (2, 3)]
    after, _ = rung(config, 6, folder)

    assert (straight.last_epoch, straight.best_epoch, straight.stopped_early) == (3, 1, True)
    assert [result.stopped_early for result in before] == [False, False]
    assert timeless(after) == timeless(straight)


def test_without_a_validation_set_the_last_epoch_is_best(tmp_path: Path) -> None:
    result, heard = rung(config_of("split=official"), 2, tmp_path)

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

    assert Checkpoint.load(tmp_path / CHECKPOINT_FILE).epoch == 1
    assert files_in(tmp_path) == {CHECKPOINT_FILE}


def test_a_test_loss_that_is_not_finite_fails_it_too(tmp_path: Path) -> None:
    # The one step's loss is still finite; what it leaves is not.
    config = config_of(*EXPLODING, "split=official", "train.epochs=null", "train.steps=1")

    with pytest.raises(TrialFailed, match="not finite in epoch 1: test_loss=nan"):
        rung(config, 1, tmp_path)


def silu_builder(config: RunConfig, input_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """TensorFlow registers silu's gradient for good, as it does the optimizer's step."""
    del config
    layers = [keras.layers.Flatten(), keras.layers.Dense(4, activation="silu")]
    output = keras.layers.Dense(classes, activation="softmax")
    return keras.Sequential([keras.Input(input_shape), *layers, output])


def graphs() -> int:
    gc.collect()
    return sum(isinstance(thing, FuncGraph) for thing in gc.get_objects())


def test_rungs_leave_no_graph_behind_and_keras_as_it_was(tmp_path: Path) -> None:
    config = config_of()
    data = data_of(config)
    rung(config, 1, tmp_path / "first", data=data, build_model=silu_builder)
    before = graphs()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        digests = set()
        for number in range(2):
            result, _ = rung(config, 2, tmp_path / str(number), data=data, build_model=silu_builder)
            digests.add(result.weights_sha256)
            evaluate_saved(tmp_path / str(number) / BEST_MODEL_FILE, data.test)
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")

    assert graphs() == before
    assert len(digests) == 1


def test_a_model_of_the_callers_outlives_a_rung_and_a_cleared_session(tmp_path: Path) -> None:
    config = config_of(*PLAIN)
    data = data_of(config)
    mine = train_to(config, 1).model
    before = evaluate(mine, data.test)

    first, _ = rung(config, 1, tmp_path / "first", data=data)
    keras.utils.clear_session()
    second, _ = rung(config, 1, tmp_path / "second", data=data)

    assert timeless(first) == timeless(second)
    assert evaluate(mine, data.test) == before
    mine.fit(data.train.images / 255.0, data.train.labels, epochs=1, verbose=0)
    assert evaluate(mine, data.test) != before


def test_the_callers_random_state_stays_as_it_was(tmp_path: Path) -> None:
    config = config_of()
    python, numpy = random.getstate(), np.random.get_state(legacy=False)

    rung(config, 1, tmp_path)
    evaluate_saved(tmp_path / BEST_MODEL_FILE, data_of(config).test)

    assert random.getstate() == python
    np.testing.assert_equal(np.random.get_state(legacy=False), numpy)


def test_a_model_file_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    path = tmp_path / BEST_MODEL_FILE
    images = data_of(config_of()).test
    with pytest.raises(RunError, match=r"model .*best\.keras cannot be loaded: "):
        evaluate_saved(path, images)
    path.write_bytes(b"no model")
    with pytest.raises(RunError, match=r"model .*best\.keras cannot be loaded: "):
        evaluate_saved(path, images)
    code = keras.layers.Lambda(lambda x: x)
    keras.Sequential([keras.Input((8, 8, 1)), code]).save(path)
    with pytest.raises(RunError, match=r"model .*best\.keras cannot be loaded: "):
        evaluate_saved(path, images)
