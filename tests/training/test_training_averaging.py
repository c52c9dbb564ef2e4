"""Averaged weights: those of Keras, evaluated and kept instead of the weights, which they leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_training import TRAIN_IMAGES, config_of, data_of, through_disk, train_to

from fmnist_sweep.training.evaluation import evaluate
from fmnist_sweep.training.train import restore_weights

DECAY = 0.9
ONE_STEP = (f"train.batch_size={TRAIN_IMAGES}",)  # an epoch: so each one's weights are seen
LAST_IS_BEST = ("train.monitor.metric=loss",)


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("sgd", marks=pytest.mark.release)])
def test_they_are_means_of_all_steps_and_change_no_weight(optimizer: str) -> None:
    shared = (f"train.optimizer.name={optimizer}", *ONE_STEP, *LAST_IS_BEST)
    plain = [train_to(config_of(*shared), epoch) for epoch in (1, 2, 3)]
    trained = train_to(config_of(*shared, f"train.ema={DECAY}"), 3)
    for own, same in zip(trained.checkpoint.weights, plain[-1].checkpoint.weights, strict=True):
        np.testing.assert_array_equal(own, same)
    is_trainable = [any(w is t for t in trained.model.trainable_weights)
                    for w in trained.model.weights]  # fmt: skip
    assert any(is_trainable)
    assert not all(is_trainable)
    for number, learns in enumerate(is_trainable):
        steps = [one.checkpoint.weights[number] for one in plain]
        expected = steps[-1]
        if learns:
            expected = steps[0]
            for weights in steps[1:]:
                expected = DECAY * expected + (1 - DECAY) * weights
        found = trained.checkpoint.best_weights[number]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_validation_is_of_the_averages() -> None:
    config = config_of(*LAST_IS_BEST, f"train.ema={DECAY}")
    trained = train_to(config, 2)
    validation = data_of(config).validation
    assert validation is not None
    restore_weights(trained.model, trained.checkpoint.best_weights)
    found = evaluate(trained.model, validation)
    logged = trained.checkpoint.history[-1].metrics
    assert logged["val_loss"] == pytest.approx(found["loss"], rel=1e-6)
    plain = train_to(config_of(*LAST_IS_BEST), 2).checkpoint.history[-1].metrics
    assert plain["val_loss"] != logged["val_loss"]
    assert plain["loss"] == logged["loss"]


def test_a_checkpoint_has_them(tmp_path: Path) -> None:
    config = config_of(f"train.ema={DECAY}")
    first = through_disk(train_to(config, 1).checkpoint, tmp_path)
    continued, straight = train_to(config, 3, first), train_to(config, 3)
    for one, other in zip(
        continued.checkpoint.optimizer, straight.checkpoint.optimizer, strict=True
    ):
        np.testing.assert_array_equal(one, other)
