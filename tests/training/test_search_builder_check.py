"""A sweep whose builder gives nothing that can be trained is refused before anything is written."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from program import SMALL

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import Config, RunConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.journal.file import JOURNAL_FILE
from fmnist_sweep.runtime import cores
from fmnist_sweep.sweep.builder_check import check_builder
from fmnist_sweep.sweep.plan import plan_sweep
from fmnist_sweep.sweep.run import run_sweep
from fmnist_sweep.workspace import Workspace

Shape = tuple[int, int, int]


def config() -> Config:
    return compose_config(
        [*SMALL, "tracking=off", "model=small_cnn", "train.epochs=1", "sweep.max_trials=1",
         "train.batch_size=100", "+space.train.batch_size={choice: [25, 50]}",
         f"train.threads={cores()}"]
    )  # fmt: skip


def network(shape: Shape, classes: int, activation: str | None) -> keras.Model:
    end = [keras.layers.Flatten(), keras.layers.Dense(classes, activation)]
    return keras.Sequential([keras.Input(shape), *end])


def logits(_: RunConfig, shape: Shape, classes: int) -> keras.Model:
    return network(shape, classes, None)


def of_small_batches(config: RunConfig, shape: Shape, classes: int) -> keras.Model:
    """Nothing for the config as it is, a network for every point."""
    activation = {25: "softmax", 50: "softmax"}[config.train.batch_size]
    network_ = network(shape, classes, activation)
    network_.compile("sgd", "mse")
    return network_


def plan(builder: Any, root: Path) -> Any:
    return plan_sweep(config(), builder, None, label="sweep", pinned=(), workspace=Workspace(root))


def test_it_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^build_model: its network returns -.* logits"):
        run_sweep(config(), build_model=logits)
    assert not list(tmp_path.iterdir())


def test_one_network_that_can_be_trained_is_enough(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_builder(plan(of_small_batches, tmp_path), of_small_batches)
    (said,) = [record.message for record in caplog.records]
    assert said == (
        "build_model: its compile() is not used: train.* says optimizer, loss and metrics"
    )


def exits_of_small_batches(config: RunConfig, shape: Shape, classes: int) -> keras.Model:
    if config.train.batch_size == 25:
        sys.exit(3)
    return network(shape, classes, "softmax")


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_builder_that_exits_fails_its_trial(
    executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = compose_config(
        [*SMALL, "tracking=off", "model=small_cnn", "train.epochs=1", "report=false",
         "train.batch_size=100", "tuner=grid", "+space.train.batch_size={choice: [25, 50]}",
         f"executor={executor}", f"train.threads={cores()}"]
    )  # fmt: skip
    sweep = run_sweep(chosen, build_model=exits_of_small_batches)
    failed, trained = sweep.state.trials[0], sweep.state.trials[1]
    assert failed.reason is not None
    assert failed.reason.startswith(
        "ConfigError: build_model: it raised SystemExit: 3 (test_search"
    )
    assert trained.result is not None


def test_a_sweep_that_has_begun_is_left_alone(tmp_path: Path) -> None:
    made = plan(logits, tmp_path)
    made.folder.mkdir(parents=True)
    (made.folder / JOURNAL_FILE).touch()
    check_builder(made, logits)
