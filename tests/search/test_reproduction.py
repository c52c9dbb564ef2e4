"""The record of a training, and what a rerun is told about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError
from search_fakes import ENVIRONMENT

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.record_schema import Expected, Numerics
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import ConfigError, NotReproduced
from fmnist_sweep.reproduction import (
    Outcome,
    Verification,
    check_before,
    compare,
    expected_of,
    tolerance,
)

DATA, SPLIT, LAST, BEST = ("d" * 64, "5" * 64, "a" * 64, "b" * 64)
OUTCOME = Outcome(
    metrics={"best_val_accuracy": 0.9, "test_accuracy": 0.1 + 0.2, "train_seconds": 12.5},
    images={"train": 1000, "validation": 400, "test": 100},
    data_sha256=DATA,
    split_sha256=SPLIT,
    weights_sha256=LAST,
    best_weights_sha256=BEST,
)
NUMERICS = ENVIRONMENT.numerics


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return compose_config(["data=synthetic", "model=small_cnn", "train.threads=2"]).run


@pytest.fixture(scope="module")
def expected(config: RunConfig) -> Expected:
    return expected_of(config, OUTCOME, [ENVIRONMENT])


def changed(config: RunConfig, **train: object) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update=train)})


def elsewhere(**changes: object) -> Numerics:
    return NUMERICS.model_copy(update=changes)


def test_a_record_has_what_a_rerun_is_held_to(expected: Expected) -> None:
    assert {name: metric.value for name, metric in expected.metrics.items()} == {
        "best_val_accuracy": 0.9,
        "test_accuracy": 0.1 + 0.2,
    }
    assert expected.metrics["best_val_accuracy"].tolerance == 0.06  # 4 * sqrt(0.9 * 0.1 / 400)
    assert expected.numerics == NUMERICS
    assert Expected.model_validate(expected.model_dump()) == expected


@pytest.mark.parametrize(
    ("accuracy", "images", "allowed"),
    [(0.5, 10_000, 0.02), (0.9, 1_000_000, 0.005), (1.0, 100, 0.04), (0.0, 100, 0.04)],
)
def test_tolerance_is_four_standard_errors_and_never_nothing(
    accuracy: float, images: int, allowed: float
) -> None:
    assert tolerance(accuracy, images) == pytest.approx(allowed, abs=1e-4)


def test_the_recorded_training_passes(expected: Expected, config: RunConfig) -> None:
    check_before(expected, config, DATA, SPLIT, "best/x")
    # Threads are the environment's: they change the last bits, not what is trained.
    check_before(expected, changed(config, threads=7), DATA, SPLIT, "best/x")


def test_another_data_or_split_is_named_with_both_digests(
    expected: Expected, config: RunConfig
) -> None:
    with pytest.raises(NotReproduced, match=f"data has sha256 {'e' * 64}, recorded: {DATA}"):
        check_before(expected, config, "e" * 64, SPLIT, "best/x")
    with pytest.raises(NotReproduced, match=f"split has sha256 {'e' * 64}, recorded: {SPLIT}"):
        check_before(expected, config, DATA, "e" * 64, "best/x")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.seed=2", "train.seed is 2, recorded: 1"),
        ("train.optimizer.learning_rate=0.01", "learning_rate is 0.01, recorded: 0.001"),
        ("model.head.dropout=0.5", "model.head.dropout is 0.5, recorded: 0.0"),
        ("model.conv_defaults.dropout=0.1", "model.conv_blocks.0.dropout is 0.1, recorded: 0.0"),
        ("model.fc_layers=[]", "model.fc_layers.0.neurons is absent, recorded: 128"),
        ("train.stop_epoch=2", "train.stop_epoch is 2, recorded: null"),
    ],
)
def test_a_changed_value_is_named_with_both(
    expected: Expected, config: RunConfig, override: str, told: str
) -> None:
    other = compose_config(["data=synthetic", "model=small_cnn", "train.threads=2", override]).run
    with pytest.raises(NotReproduced) as refused:
        check_before(expected, other, DATA, SPLIT, "best/x")
    assert told in str(refused.value)
    assert str(refused.value).startswith("best/x differs from its record: ")


def test_a_default_that_no_block_takes_is_no_difference(config: RunConfig) -> None:
    # Without blocks nothing is taken from conv_defaults: the same network whatever they say.
    bare = ["data=synthetic", "model=small_cnn", "model.conv_blocks=[]"]
    expected = expected_of(compose_config(bare).run, OUTCOME, [ENVIRONMENT])
    other = compose_config([*bare, "model.conv_defaults.channels=7"]).run
    check_before(expected, other, DATA, SPLIT, "best/x")


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"train":{},"model":{}}', "no JSON"])
def test_a_spoilt_record_is_refused_in_a_line(
    expected: Expected, config: RunConfig, record: str
) -> None:
    spoilt = expected.model_copy(update={"config": record})
    with pytest.raises(ConfigError, match=r"^expected\.config: ") as refused:
        check_before(spoilt, config, DATA, SPLIT, "best/x")
    assert "\n" not in str(refused.value)


def test_a_record_without_anything_to_compare_is_refused(expected: Expected) -> None:
    for metrics in ({}, {"best_val_accuracy": {"value": 0.5, "tolerance": 0.1}}):
        with pytest.raises(ValidationError, match="test_accuracy is missing"):
            Expected.model_validate({**expected.model_dump(), "metrics": metrics})


def test_in_the_same_environment_it_is_the_last_bit_that_counts(expected: Expected) -> None:
    same = compare(expected, OUTCOME, NUMERICS)
    assert (same.verdict, same.tested, same.matches) == ("exact", "the last bit", True)
    for other in (
        replace(OUTCOME, metrics={**OUTCOME.metrics, "test_accuracy": 0.3}),
        replace(OUTCOME, weights_sha256=BEST),
        replace(OUTCOME, best_weights_sha256=LAST),
        replace(OUTCOME, metrics={"test_accuracy": 0.1 + 0.2}),
    ):
        verification = compare(expected, other, NUMERICS)
        assert (verification.verdict, verification.matches) == ("not reproduced", False)
        assert [line.matches for line in verification.comparisons].count(False) == 1


@pytest.mark.parametrize(
    ("here", "difference"),
    [
        (elsewhere(versions={"tensorflow": "2.22.0"}), "tensorflow 2.21.0 -> 2.22.0"),
        (elsewhere(versions={}), "tensorflow 2.21.0 -> absent"),
        (elsewhere(threads=1), "threads 2 -> 1"),
        (elsewhere(cpu="another CPU"), "CPU a CPU -> another CPU"),
        (elsewhere(cpu_features=["avx512f"]), "CPU features without avx2, with avx512f"),
        (elsewhere(accelerators=["a GPU"]), 'accelerators [] -> ["a GPU"]'),
        (
            elsewhere(settings={"TF_ENABLE_ONEDNN_OPTS": "0"}),
            'settings {} -> {"TF_ENABLE_ONEDNN_OPTS": "0"}',
        ),
    ],
)
def test_elsewhere_the_tolerance_counts_and_what_differs_is_said(
    expected: Expected, here: Numerics, difference: str
) -> None:
    near = replace(
        OUTCOME,
        metrics={"best_val_accuracy": 0.96, "test_accuracy": 0.3},
        weights_sha256=BEST,
    )
    verification = compare(expected, near, here)
    assert verification.differences == (difference,)
    assert (verification.verdict, verification.tested) == ("within tolerance", "the tolerance")
    # Weights that are the same bit by bit are exact wherever they were trained.
    equal = compare(expected, replace(near, weights_sha256=OUTCOME.weights_sha256), here)
    assert (equal.verdict, equal.tested) == ("exact", "the last bit")
    assert equal.differences == (difference,)
    far = replace(near, metrics={"best_val_accuracy": 0.961, "test_accuracy": 0.3})
    assert compare(expected, far, here).verdict == "not reproduced"


def test_a_training_in_several_environments_is_never_held_to_its_last_bit(
    config: RunConfig,
) -> None:
    other = ENVIRONMENT.model_copy(update={"numerics": elsewhere(threads=1)})
    expected = expected_of(config, OUTCOME, [ENVIRONMENT, other])
    verification = compare(expected, OUTCOME, NUMERICS)
    assert isinstance(verification, Verification)
    assert verification.verdict == "exact"
    verification = compare(expected, replace(OUTCOME, weights_sha256=BEST), NUMERICS)
    assert verification.verdict == "within tolerance"
    assert expected_of(config, OUTCOME, []).numerics is None
    assert verification.differences == (
        "the record is of several environments, or does not name any",
    )
    # The commit and the like may change: bits do not depend on them.
    moved = ENVIRONMENT.model_copy(update={"git_commit": None})
    assert expected_of(config, OUTCOME, [ENVIRONMENT, moved]).numerics == NUMERICS
