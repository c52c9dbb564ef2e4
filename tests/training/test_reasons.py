"""One telling line for what TensorFlow, Keras and a user's code raise, provoked for real."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fmnist_sweep.reasons import reason_of

IMAGES = np.zeros((4, 2, 2, 1), np.float32)
LABELS = np.array([0, 1, 2, 12])


def network(*layers: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), *layers])


def fitted(layer: keras.layers.Layer, labels: np.ndarray) -> None:
    model = network(layer, keras.layers.Dense(10, "softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(IMAGES, labels, verbose=0)


class Wrong(keras.layers.Layer):
    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.matmul(given, keras.ops.ones((3, 3)))


class Silent(keras.layers.Layer):
    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        raise ValueError


class Lost(keras.layers.Layer):
    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        return {"filters": given}["units"]


class Gathers(keras.layers.Layer):
    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        return tf.gather(given, [100], axis=1)


class InPython(keras.layers.Layer):
    def call(self, given: keras.KerasTensor) -> keras.KerasTensor:
        return tf.ensure_shape(tf.numpy_function(self.divided, [given], tf.float32), (None, 4))

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def divided(self, _: np.ndarray) -> float:
        return 1 / 0


class Unsavable(keras.layers.Layer):
    def get_config(self) -> dict[str, object]:
        raise NotImplementedError


class Unregistered(keras.layers.Layer):
    pass


def loaded(layer: keras.layers.Layer, folder: Path) -> None:
    network(layer).save(folder / "network.keras")
    keras.saving.load_model(folder / "network.keras", compile=False, safe_mode=True)


def silent_with_a_cause() -> None:
    try:
        raise OSError("the true cause")
    except OSError as error:
        raise RuntimeError from error


def several_lines() -> None:
    raise ValueError("the first line tells\n\nand here is a manual")


def lost_key() -> None:
    raise KeyError("units")


HERE = r"\(test_reasons\.py:\d+\)"
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a label out of range": (
        lambda _: fitted(keras.layers.Identity(), LABELS),
        r"InvalidArgumentError: Received a label value of 12 which is outside the valid range of "
        r"\[0, 10\)\..*",
    ),
    "an index out of range, in a graph": (
        lambda _: fitted(Gathers(), LABELS % 10),
        r"InvalidArgumentError: indices\[0\] = 100 is not in \[0, 4\)",
    ),
    "an error of Python's, in a graph": (
        lambda _: fitted(InPython(), LABELS % 10),
        r"UnknownError: ZeroDivisionError: division by zero",
    ),
    "a layer's call": (
        lambda _: network(Wrong()),
        r"ValueError: in Wrong\.call\(\): Dimensions must be equal, but are 4 and 3 .*",
    ),
    "a layer's call without a word": (lambda _: network(Silent()), rf"ValueError {HERE}"),
    "a key lost in a layer's call": (
        lambda _: network(Lost()), r"KeyError: in Lost\.call\(\): .*units.*",
    ),
    "images of another shape": (
        lambda _: network(keras.layers.Dense(2))(np.zeros((1, 3, 3, 1), np.float32)),
        r"ValueError: in Sequential\.call\(\): Input 0 .* value 4, .* shape \(1, 9\)",
    ),
    "what cannot be saved": (
        lambda folder: loaded(Unsavable(), folder), rf"NotImplementedError {HERE}",
    ),
    "what cannot be loaded": (
        lambda folder: loaded(Unregistered(), folder),
        r"TypeError: Could not locate class 'Unregistered'\. .*\.",
    ),
    "a tensor too large": (
        lambda _: tf.zeros((10**6, 10**7)),
        r"ResourceExhaustedError: OOM when allocating tensor with shape\[1000000,10000000\] .*",
    ),
    "a cause behind an empty message": (
        lambda _: silent_with_a_cause(), "OSError: the true cause",
    ),
    "the first of several lines": (
        lambda _: several_lines(), "ValueError: the first line tells",
    ),
    "a key alone": (lambda _: lost_key(), rf"KeyError: 'units' {HERE}"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_line_says_what_went_wrong(case: str, tmp_path: Path) -> None:
    provoke, expected = CASES[case]
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever the library takes
        provoke(tmp_path)
    assert re.fullmatch(expected, reason_of(raised.value))


def test_a_long_message_is_cut() -> None:
    line = reason_of(ValueError("much " * 1000))
    assert len(line) == 400
    assert line.endswith("...")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Graph execution error:\n\nDetected at node a/Assert defined at (most recent call last)"
            ':\n  File "a.py", line 3, in b\n    x = layer(y)\n\n  [Previous line repeated 2 more '
            "times]\n\nassertion failed: [too large]\n\t [[{{node a/Assert}}]] [Op:__inference_1]",
            "assertion failed: [too large]",
        ),
        (
            "Graph execution error:\n\n2 root error(s) found.\n  (0) INVALID_ARGUMENT:  indices[0]"
            " = 5 is not in [0, 3)\n\t [[{{node x}}]]\n\t [[y/_7]]\n  (1) INVALID_ARGUMENT:  other",
            "indices[0] = 5 is not in [0, 3)",
        ),
    ],
)
def test_what_tensorflow_prints_around_a_message_is_left_out(text: str, said: str) -> None:
    assert reason_of(ValueError(text)) == f"ValueError: {said}"
