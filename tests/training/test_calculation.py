"""Settings of Keras, TensorFlow and NumPy change no training, and stay the user's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from program import environment as of_program
from tiny_training import config_of, data_of

from fmnist_sweep.config.record_schema import Numerics
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.runtime import cores, load_tensorflow, numeric_settings
from fmnist_sweep.training.rung import default_builder, load_saved, run_rung

# Smoothed labels are what Keras's epsilon is used for.
CONFIG = ("train.label_smoothing=0.1",)
TESTS = Path(__file__).parents[1]


def digests(folder: Path) -> list[Any]:
    config = config_of(*CONFIG)
    result = run_rung(
        config, data_of(config), 1, folder,
        build_model=default_builder, on_epoch=lambda record: False,
    )  # fmt: skip
    return [result.weights_sha256, result.test_loss, result.best_metrics["val_loss"]]


def _settings() -> dict[str, Any]:
    return {
        "policy": keras.config.dtype_policy().name,
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "format": keras.config.image_data_format(),
        "epochs": keras.config.max_epochs(),
        "steps": keras.config.max_steps_per_epoch(),
        "eagerly": tf.config.functions_run_eagerly(),
        "jit": tf.config.optimizer.get_jit(),
        "options": tf.config.optimizer.get_experimental_options(),
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "numpy": np.geterr(),
    }


@contextmanager
def everything_set() -> Iterator[dict[str, Any]]:
    """What a user's notebook may have set, all of it."""
    from tensorflow.python.framework import config as tf_config

    before, options = _settings(), tf.config.optimizer.get_experimental_options()
    keras.config.set_dtype_policy("float16")
    keras.config.set_floatx("float64")
    keras.config.set_epsilon(0.01)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_max_epochs(0)
    keras.config.set_max_steps_per_epoch(1)
    tf.config.run_functions_eagerly(True)
    tf.config.optimizer.set_jit("autoclustering")
    tf.config.optimizer.set_experimental_options({"layout_optimizer": False, "remapping": False})
    tf.config.experimental.enable_tensor_float_32_execution(False)
    tf.config.experimental.enable_op_determinism()
    np.seterr(all="raise")
    try:
        yield _settings()
    finally:
        tf_config.disable_op_determinism()
        keras.config.set_dtype_policy(before["policy"])
        keras.config.set_floatx(before["floatx"])
        keras.config.set_epsilon(before["epsilon"])
        keras.config.set_image_data_format(before["format"])
        keras.config.set_max_epochs(before["epochs"])
        keras.config.set_max_steps_per_epoch(before["steps"])
        tf.config.run_functions_eagerly(before["eagerly"])
        tf.config.optimizer.set_jit(before["jit"])
        kept = {"layout_optimizer": True, "remapping": True, **options}
        tf.config.optimizer.set_experimental_options(kept)
        tf.config.experimental.enable_tensor_float_32_execution(before["tf32"])
        np.seterr(**before["numpy"])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a training gives where nobody has set anything."""
    return digests(tmp_path_factory.mktemp("plain"))


def test_a_notebooks_settings_change_no_bit_and_stay(plain: list[Any], tmp_path: Path) -> None:
    from tensorflow.python.framework import config as tf_config

    with everything_set() as ours:
        assert digests(tmp_path) == plain
        assert _settings() == ours
        assert tf_config.is_op_determinism_enabled()
        with pytest.raises(Exception, match="cannot be loaded"):
            load_saved(tmp_path / "none.keras", "0" * 64)
        assert _settings() == ours, "after an error too"


IN_A_SCRIPT = """
import json, logging, sys
sys.path[:0] = [{tests!r}, {tests!r} + "/training"]
from pathlib import Path
import fmnist_sweep
from fmnist_sweep import runtime
runtime.load_tensorflow()
runtime.use_threads({threads})
from test_calculation import digests
from program import SMALL
import keras

@keras.saving.register_keras_serializable("mine")
class Half(keras.layers.Layer):
    def call(self, given):
        return given * 0.5

def build(config, shape, classes):
    end = [keras.layers.Flatten(), Half(), keras.layers.Dense(classes, "softmax")]
    model = keras.Sequential([keras.Input(shape), *end])
    model.compile("sgd", "mse")
    return model

if __name__ == "__main__":
    found = {{"digests": digests(Path("here")), "backend": keras.config.backend()}}
    given = [*SMALL, "train.threads={threads}", "model=small_cnn", "train.epochs=1",
             "tracking=off", "+space.train.batch_size={{choice: [50]}}", "sweep.max_trials=1"]
    for name in ("inline", "processes"):
        config = fmnist_sweep.compose_config([*given, f"executor={{name}}", f"sweep.name={{name}}"])
        sweep = fmnist_sweep.run_sweep(config, build_model=build)
        trial = sweep.state.trials[0]
        found[name] = [trial.reason, trial.result.weights_sha256 if trial.result else None]
        found[name + " layers"] = [type(layer).__name__ for layer in sweep.best_model().layers]
    print(json.dumps(found))
"""
KERAS_JSON = {
    "floatx": "float64", "epsilon": 0.01, "backend": "jax", "nnx_enabled": True,
    "image_data_format": "channels_first",
}  # fmt: skip
VARIABLES = {
    "KERAS_BACKEND": "torch", "KERAS_NNX_ENABLED": "1", "KERAS_MAX_EPOCHS": "0",
    "KERAS_MAX_STEPS_PER_EPOCH": "1", "TF_USE_LEGACY_KERAS": "1",
}  # fmt: skip


def test_variables_and_keras_json_change_no_bit_here_or_in_workers(
    plain: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(KERAS_JSON))
    script = tmp_path / "script.py"
    tf.constant(0)
    threads = int(tf.config.threading.get_intra_op_parallelism_threads()) or cores()
    script.write_text(IN_A_SCRIPT.format(tests=str(TESTS), threads=threads))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=500,
        env={**of_program(), **VARIABLES, "KERAS_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["digests"] == plain
    assert found["backend"] == "tensorflow"
    # A class of a script, registered there, is registered in its worker too.
    assert found["inline"] == found["processes"]
    assert found["inline"][0] is None
    assert "Half" in found["processes layers"]
    assert done.stderr.count("build_model: its compile() is not used") == 2


def test_settings_that_keras_refuses_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"floatx": "bad"}')
    done = subprocess.run(
        [sys.executable, "-m", "fmnist_sweep", "train.epochs=1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**of_program(), "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "torch"},
    )  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Keras cannot be imported with these settings (")
    assert f"({tmp_path}/keras.json, KERAS_BACKEND=torch, KERAS_HOME=" in line
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["keras.json"]


def test_a_process_whose_keras_runs_on_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")  # there is none to be had here
    with pytest.raises(ConfigError, match="Keras uses jax in this process; allowed: tensorflow"):
        load_tensorflow()


def test_what_keras_runs_on_is_no_longer_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("TF_USE_DEEP_CONV2D", "1")
    assert "KERAS_BACKEND" not in numeric_settings()
    assert numeric_settings()["TF_USE_DEEP_CONV2D"] == "1"
    recorded = Numerics(
        versions={}, cpu="", cpu_features=[], accelerators=[], threads=1,
        settings={"KERAS_BACKEND": "tensorflow", "XLA_FLAGS": "x"},
    )  # fmt: skip
    assert recorded.settings == {"XLA_FLAGS": "x"}
