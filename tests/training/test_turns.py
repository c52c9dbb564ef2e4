"""Two threads of one process: each training is as it is alone, or is refused in one line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from search_fakes import InstantExecutor, config_with
from tensorflow.python.framework import ops
from tiny_training import config_of, contents, train_to

from fmnist_sweep import FashionMNISTCNN, build_cnn, run_sweep
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import UserError
from fmnist_sweep.journal.state import SweepState
from fmnist_sweep.runs.single import Origin, run_single
from fmnist_sweep.runtime import cores
from fmnist_sweep.sweep.opening import Watch
from fmnist_sweep.training.graphs import graphs_freed
from fmnist_sweep.training.rung import default_builder
from fmnist_sweep.turns import alone, in_turn


def test_trainings_in_two_threads_are_those_of_one(tmp_path: Path) -> None:
    configs = [config_of(f"train.seed={seed}", "train.epochs=2") for seed in (1, 2)]
    each_alone = [contents(train_to(config, 2).checkpoint) for config in configs]
    both_are_there = threading.Barrier(2)

    def trained(config: Any) -> dict[str, Any]:
        both_are_there.wait()
        return contents(train_to(config, 2).checkpoint)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(trained, configs)) == each_alone


def test_a_second_sweep_training_or_network_is_refused_beside_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    net = FashionMNISTCNN(
        (28, 28, 1), {}, {"fc0": {"fc0_neurons": 10, "fc0_activation": "softmax"}}
    )
    net.compile()
    images, labels = np.zeros((1, 28, 28, 1), np.float32), np.zeros((1, 10), np.float32)
    config = config_with(
        {"train": {"batch_size": {"choice": [10, 20]}}},
        train__threads=cores(), train__epochs=1, sweep__max_trials=1, report=False,
    )  # fmt: skip
    other = config.model_copy(update={"sweep": config.sweep.model_copy(update={"name": "other"})})
    attempts: dict[str, Callable[[], object]] = {
        "a sweep": lambda: run_sweep(other, executor=InstantExecutor()),
        "a training": lambda: single(config),
        "FashionMNISTCNN.fit": lambda: net.fit(images, labels, images, labels, epochs=1),
        "FashionMNISTCNN": lambda: FashionMNISTCNN((28, 28, 1)),
        "build_cnn": lambda: build_cnn(config.model, (12, 12, 1), 10),
    }
    refused: dict[str, str] = {}
    built: list[object] = []

    def meanwhile(state: SweepState) -> None:
        if built:
            return
        built.append(build_cnn(config.model, (12, 12, 1), 10))  # its own thread may
        before = sorted(tmp_path.rglob("*"))
        with ThreadPoolExecutor(1) as thread:
            for what, attempt in attempts.items():
                error = thread.submit(attempt).exception()
                assert isinstance(error, UserError), error
                refused[what] = str(error)
        assert sorted(tmp_path.rglob("*")) == before

    run_sweep(config, executor=InstantExecutor(), watch=Watch(on_state=meanwhile))
    assert refused == {
        what: f"{what} cannot run beside a sweep in another thread of this process, because they "
        "share random generators and would change each other's results; run them one after the "
        "other, or in separate processes"
        for what in attempts
    }
    run_sweep(other, executor=InstantExecutor())  # one after the other


def single(config: Config) -> None:
    run_single(
        config, "mine", (), Origin(), on_start=lambda line: None, on_epoch=lambda record: None
    )


def test_the_threads_of_an_executor_take_turns_and_build_their_networks() -> None:
    config = config_of()
    inside: list[int] = []

    def rung(number: int) -> int:
        with in_turn():
            inside.append(number)
            assert len(inside) == 1
            default_builder(config, (8, 8, 1), 10)
            inside.remove(number)
        return number

    with alone("a sweep"), ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(rung, range(8))) == list(range(8))


def test_gradients_that_another_thread_registers_meanwhile_are_left_to_it() -> None:
    @tf.custom_gradient
    def doubled(x: tf.Tensor) -> Any:
        return 2.0 * x, lambda upstream: 2.0 * upstream

    def traced() -> Any:
        return tf.function(doubled).get_concrete_function(tf.constant(1.0)).graph

    registered = ops.gradient_registry.list
    before = set(registered())
    with ThreadPoolExecutor(1) as thread:
        with graphs_freed():
            theirs = thread.submit(traced).result()
            kept = set(registered()) - before
            traced()
            assert len(set(registered()) - before) == 2
        assert set(registered()) - before == kept
    assert theirs is not None
