"""Which saved models take more than Keras to load."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.model.builder import build_cnn
from fmnist_sweep.training.saved_code import foreign_code


@keras.saving.register_keras_serializable(package="mine")
class Registered(keras.layers.Layer):
    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return inputs * 2.0


class Unregistered(Registered):
    pass


def doubled(inputs: keras.KerasTensor) -> keras.KerasTensor:
    return inputs * 2.0


def saved(folder: Path, layer: keras.layers.Layer) -> Path:
    given = keras.Input((4, 4, 1))
    answers = keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(layer(given)))
    path = folder / "best.keras"
    keras.Model(given, answers).save(path)
    return path


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (Registered(), "mine>Registered"),
        (Unregistered(), "Unregistered"),
        (keras.layers.Lambda(lambda inputs: inputs * 2.0), "a lambda"),
        (keras.layers.Activation(doubled), "doubled"),
    ],
)
def test_code_of_ones_own_is_found(tmp_path: Path, layer: keras.layers.Layer, named: str) -> None:
    found = foreign_code(saved(tmp_path, layer))
    assert found is not None
    assert named.removeprefix("mine>") in found


@pytest.mark.parametrize("config", [[], ["+sweep=cnn"], ["+baseline=wrapper"]])
def test_what_a_config_describes_needs_keras_alone(tmp_path: Path, config: list[str]) -> None:
    network = build_cnn(compose_config(config).model, (28, 28, 1), 10)
    network.compile("adam", "sparse_categorical_crossentropy")
    network.save(tmp_path / "best.keras")
    assert foreign_code(tmp_path / "best.keras") is None


def test_layers_of_keras_are_its_own(tmp_path: Path) -> None:
    layer = keras.Sequential(
        [
            keras.layers.Conv2D(2, 3, activation="gelu", kernel_regularizer="l2"),
            keras.layers.Activation(keras.activations.silu),
            keras.layers.RandomFlip(seed=1),
        ]
    )
    assert foreign_code(saved(tmp_path, layer)) is None


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_damaged_file_is_left_to_whoever_loads_it(tmp_path: Path, kept: float) -> None:
    path = saved(tmp_path, Unregistered())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert foreign_code(path) is None
