"""`train.test_flip`: the model that is tested and saved answers for both images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_training import config_of, data_of

from fmnist_sweep.training.evaluation import evaluate
from fmnist_sweep.training.results import BEST_MODEL_FILE
from fmnist_sweep.training.rung import default_builder, load_saved, run_rung


def test_it_answers_with_the_mean_for_both_images(tmp_path: Path) -> None:
    data = data_of(config_of())
    results = {}
    for name, flip in (("once", "false"), ("both", "true")):
        folder = tmp_path / name
        folder.mkdir()
        results[name] = run_rung(
            config_of(f"train.test_flip={flip}"), data, 2, folder,
            build_model=default_builder, on_epoch=lambda record: False,
        )  # fmt: skip
    once, both = results["once"], results["both"]
    assert both.best_weights_sha256 == once.best_weights_sha256
    assert both.parameters == once.parameters
    assert both.best_metrics["val_loss"] == once.best_metrics["val_loss"]

    one, mean = (
        load_saved(tmp_path / name / BEST_MODEL_FILE, result.best_weights_sha256)
        for name, result in results.items()
    )
    images = data.test.images / np.float32(255)
    expected = (one.predict(images) + one.predict(images[:, :, ::-1])) / 2
    np.testing.assert_allclose(mean.predict(images), expected, atol=1e-6)
    assert both.test_loss == evaluate(mean, data.test)["loss"]
    assert both.test_loss != once.test_loss
