"""A user's network is looked at before its first epoch; a training is the same with and without."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tiny_training import config_of, data_of

from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.training import rung
from fmnist_sweep.training.network_check import check_network
from fmnist_sweep.training.train import ModelBuilder

Shape = tuple[int, int, int]
layers = keras.layers


def of(*parts: layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *parts])


@keras.saving.register_keras_serializable("network_check_tests")
class Scale(layers.Layer):
    """Its argument is lost when it is saved."""

    def __init__(self, by: float = 1.0, **named: Any) -> None:
        super().__init__(**named)
        self.by = by

    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        return given * self.by

    def get_config(self) -> dict[str, Any]:
        return dict(super().get_config())


@keras.saving.register_keras_serializable("network_check_tests")
class Fresh(layers.Layer):
    """Makes other weights each time, out of the model's sight."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.hidden = self.add_weight(shape=(), initializer="ones")

    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        return given * self.hidden

    def save_own_variables(self, store: dict[str, Any]) -> None:
        store["0"] = np.float32(7)


class Exits(layers.Layer):
    def call(self, given: Any) -> Any:
        return given if isinstance(given, keras.KerasTensor) else sys.exit(3)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class Unsavable(layers.Dense):
    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError


class Unregistered(layers.Layer):
    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        return given * 1.0


def two_outputs() -> keras.Model:
    image = keras.Input((8, 8, 1))
    flat = layers.Flatten()(image)
    return keras.Model(image, [layers.Dense(10, "softmax")(flat), layers.Dense(10)(flat)])


def a_dict() -> keras.Model:
    image = keras.Input((8, 8, 1))
    return keras.Model(image, {"class": layers.Dense(10, "softmax")(layers.Flatten()(image))})


def bytes_in() -> keras.Model:
    scaled = layers.Rescaling(1 / 255.0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), dtype="uint8"),
            scaled,
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )


def raising() -> keras.Model:
    raise KeyError("units")


PROBABILITY = "allowed: a probability for each class, at least 0, with the sum 1"
REFUSED = {
    "logits": (lambda: of(layers.Dense(10)), ["its network returns -", PROBABILITY, "softmax"]),
    "too many columns": (
        lambda: of(layers.Dense(17, "softmax")),
        ["its network returns shape (n, 17)", "allowed: (n, 10)"],
    ),
    "a column an image": (
        lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Dense(10, "softmax")]),
        ["returns shape (n, 8, 8, 10)", "allowed: (n, 10)"],
    ),
    "sigmoids": (lambda: of(layers.Dense(10, "sigmoid")), ["sum to", PROBABILITY]),
    "not finite": (
        lambda: of(layers.Dense(10, "softmax", bias_initializer=not_a_number)),
        ["its network returns nan", PROBABILITY],
    ),
    "two outputs": (two_outputs, ["2 outputs in a list", "allowed: one, of shape (n, 10)"]),
    "a dict": (a_dict, ["1 output in a dict", "allowed: one, of shape (n, 10)"]),
    "bytes": (bytes_in, ["its network takes uint8", "allowed: float32"]),
    "nothing": (lambda: None, ["it returned NoneType", "allowed: a keras.Model"]),
    "raises": (raising, ["it raised KeyError: 'units' (test_training_network_check.py:"]),
    "exits": (lambda: sys.exit("no data"), ["it raised SystemExit: no data"]),
    "exits when it is called": (
        lambda: of(Exits(), layers.Dense(10, "softmax")),
        ["cannot be called with images", "SystemExit: 3 (test_training_network_check.py:"],
    ),
    "images of another shape": (
        lambda: keras.Sequential([keras.Input((9, 9, 1)), layers.Flatten(), layers.Dense(10)]),
        ["cannot be called with images of shape (n, 8, 8, 1)"],
    ),
    "cannot be saved": (
        lambda: of(Unsavable(10, "softmax")),
        ["cannot be saved: NotImplementedError (test_training_network_check.py:"],
    ),
    "a class that Keras does not know": (
        lambda: of(Unregistered(), layers.Dense(10, "softmax")),
        ["cannot be loaded after it was saved", "'Unregistered'", "register_keras_serializable"],
    ),
    "a lambda": (
        lambda: of(layers.Lambda(lambda given: given * 2), layers.Dense(10, "softmax")),
        ["cannot be loaded after it was saved", "Lambda"],
    ),
    "an argument lost": (
        lambda: of(Scale(50.0), layers.Dense(10, "softmax")),
        ["the outputs of its network differ", "get_config()"],
    ),
    "weights lost": (
        lambda: of(Fresh(), layers.Dense(10, "softmax")),
        ["its network has other weights", "build()"],
    ),
}  # fmt: skip


def not_a_number(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return keras.ops.full(shape, np.nan, dtype)


def builder(make: Any) -> ModelBuilder:
    def build(config: RunConfig, shape: Shape, classes: int) -> keras.Model:
        del config, shape, classes
        return make()

    return build


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    make, said = REFUSED[case]
    config = config_of()
    with pytest.raises(ConfigError) as refused:
        check_network(config, data_of(config), builder(make), tmp_path / "trial")
    line = str(refused.value)
    assert line.startswith("build_model: ")
    assert "\n" not in line
    assert all(part in line for part in said), line
    assert not list(tmp_path.rglob("*.keras"))


def drawing() -> keras.Model:
    """Draws whenever it is asked."""
    image = keras.Input((8, 8, 1))
    dropped = layers.Dropout(0.5)(layers.Flatten()(image), training=True)
    return keras.Model(image, layers.Dense(10, "softmax")(dropped))


def compiled() -> keras.Model:
    model = of(layers.Dense(10, "softmax"))
    model.compile("sgd", "mse")
    return model


def in_bfloat16() -> keras.Model:
    return of(layers.Dense(10), layers.Softmax(dtype="bfloat16"), layers.Identity(dtype="float32"))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("make", [drawing, compiled, in_bfloat16])
def test_what_can_be_trained_is_not(make: Any, precision: str, tmp_path: Path) -> None:
    config = config_of(f"train.precision={precision}")
    was_compiled = check_network(config, data_of(config), builder(make), tmp_path)
    assert was_compiled is (make is compiled)


def augmenting(config: RunConfig, shape: Shape, classes: int) -> keras.Model:
    del config, shape  # it is not built before it sees images
    parts = [
        layers.RandomFlip(), layers.AugMix(value_range=(0, 1)), layers.Conv2D(3, 3),
        layers.BatchNormalization(), layers.Flatten(), layers.Dropout(0.2),
        layers.Dense(classes, "softmax"),
    ]  # fmt: skip
    return keras.Sequential(parts)


def test_a_training_has_the_same_bits_as_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of()
    looked: list[bool] = []

    def train(name: str, last_epoch: int) -> tuple[str, str, float]:
        result = rung.run_rung(
            config, data_of(config), last_epoch, tmp_path / name,
            build_model=augmenting, on_epoch=lambda record: False,
        )  # fmt: skip
        return result.weights_sha256, result.best_weights_sha256, result.test_loss

    def noting(*arguments: Any) -> bool:
        looked.append(True)
        return check_network(*arguments)

    monkeypatch.setattr(rung, "check_network", noting)
    first = train("with", 1)
    assert train("with", 2) != first
    assert looked == [True], "a rung that goes on from a checkpoint is not looked at again"
    monkeypatch.setattr(rung, "check_network", lambda *arguments: False)
    assert train("without", 1) == first


@keras.saving.register_keras_serializable("network_check_tests")
class Subclassed(keras.Model):
    """Its layers have no weights before it is called."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.flat, self.answer = layers.Flatten(), layers.Dense(10, "softmax")

    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        return self.answer(self.flat(given))


def test_a_network_that_waits_for_its_first_call_is_trained(tmp_path: Path) -> None:
    config = config_of()
    result = rung.run_rung(
        config, data_of(config), 1, tmp_path,
        build_model=builder(Subclassed), on_epoch=lambda record: False,
    )  # fmt: skip
    assert result.parameters == 650


def test_no_epoch_is_trained_of_one_that_is_refused(tmp_path: Path) -> None:
    config = config_of()
    epochs: list[object] = []
    with pytest.raises(ConfigError, match="build_model: its network returns -"):
        rung.run_rung(
            config, data_of(config), 1, tmp_path,
            build_model=builder(lambda: of(layers.Dense(10))),
            on_epoch=lambda record: bool(epochs.append(record)),
        )  # fmt: skip
    assert not epochs
    assert not list(tmp_path.iterdir())
