from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tiny_training import config_of

from fmnist_sweep import runtime
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.data import load_dataset, make_split
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.training.preparation import Prepared, epochs_of, prepare, with_threads


def started_threads() -> int:
    """Return TensorFlow's threads in this process, started where no test has done so yet."""
    tf.constant(0)
    return int(tf.config.threading.get_intra_op_parallelism_threads()) or runtime.cores()


def prepared(config: RunConfig) -> Prepared:
    dataset = load_dataset(config.data)
    return Prepared(dataset, make_split(config.split, dataset))


def test_null_threads_are_the_cores_and_a_number_stays() -> None:
    assert with_threads(config_of()).train.threads == runtime.cores()
    assert with_threads(config_of("train.threads=3")).train.threads == 3


def test_preparing_gives_data_split_and_sets() -> None:
    config = config_of(f"train.threads={started_threads()}")

    made = prepare(config)

    assert made.dataset.sha256 == load_dataset(config.data).sha256
    assert made.split.sha256 == make_split(config.split, made.dataset).sha256
    assert np.array_equal(made.data.train.labels, made.dataset.labels[made.split.train])
    assert made.data.validation is not None
    assert [len(part) for part in (made.data.train, made.data.validation, made.data.test)] == [
        70,
        40,
        20,
    ]
    assert made.data.image_shape == (8, 8, 1)
    assert prepare(config, made.dataset).dataset is made.dataset


def test_other_threads_than_the_process_has_are_refused() -> None:
    threads = started_threads() + 1

    with pytest.raises(ConfigError, match=f"train.threads={threads}: TensorFlow already uses"):
        prepare(config_of(f"train.threads={threads}"))


NO_VALIDATION = "split=official"
PATIENT = "train.early_stopping.patience=2"


def test_early_stopping_needs_its_metric() -> None:
    threads = f"train.threads={started_threads()}"
    with pytest.raises(ConfigError) as refused:
        prepare(config_of(PATIENT, NO_VALIDATION, threads))

    assert str(refused.value) == (
        "train.early_stopping.patience=2: split official has no validation set for "
        "val_accuracy; set split.validation, or train.early_stopping.patience=null"
    )
    for fine in (
        config_of(NO_VALIDATION, threads),
        config_of(PATIENT, NO_VALIDATION, "train.monitor.metric=loss", threads),
        config_of(PATIENT, threads),
    ):
        prepare(fine)


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        (("train.epochs=4",), 4),
        (("train.epochs=4", "train.stop_epoch=3"), 3),
        (("train.epochs=null", "train.steps=1"), 1),
        (("train.epochs=null", "train.steps=5"), 1),
        (("train.epochs=null", "train.steps=6"), 2),
        (("train.epochs=null", "train.steps=11", "train.stop_epoch=2"), 2),
    ],
)
def test_epochs_of_a_config(overrides: tuple[str, ...], epochs: int) -> None:
    config = config_of(*overrides)

    assert epochs_of(config, prepared(config)) == epochs


def test_a_stop_beyond_the_budget_in_steps_is_refused() -> None:
    config = config_of("train.epochs=null", "train.steps=6", "train.stop_epoch=3")

    with pytest.raises(ConfigError, match="steps has only 2 epochs"):
        epochs_of(config, prepared(config))
