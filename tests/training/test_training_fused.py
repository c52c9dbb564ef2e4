"""Single operations give what Keras composes, but for rounding, and leave no trace in a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_sweep.training.fused import FusedAdam, FusedAdamW, fuse_batch_norm


def layer_of(policy: str, **arguments: Any) -> keras.layers.BatchNormalization:
    return keras.layers.BatchNormalization(dtype=policy, **arguments)


def model_of(layer: keras.layers.Layer, shape: tuple[int, ...]) -> keras.Model:
    image = keras.Input(shape)
    model = keras.Model(image, layer(image))
    size = len(model.get_weights()[0])
    random = np.random.default_rng(size)
    model.set_weights([
        random.normal(1, 0.3, size), random.normal(0, 0.3, size),
        random.normal(0, 1, size), random.uniform(0.5, 2, size),
    ])  # fmt: skip
    return model


def step_of(model: keras.Model, images: Any, wanted: Any) -> list[np.ndarray]:
    """Outputs, gradients by images and weights, and the moving statistics after one step."""
    images = tf.Variable(images)
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * wanted)
    gradients = tape.gradient(loss, [images, *(v.value for v in model.trainable_variables)])
    statistics = [variable.numpy() for variable in model.non_trainable_variables]
    return [np.asarray(tf.cast(a, tf.float32)) for a in (outputs, *gradients, *statistics)]


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(1, 9),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    channels=st.sampled_from([1, 2, 3, 8, 16, 17, 24, 32, 48]),
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    epsilon=st.sampled_from([1e-3, 1e-2]),
    policy=st.sampled_from(["float32", "mixed_bfloat16"]),
)
def test_batch_norm_trains_as_keras_has_it(
    images: int, height: int, width: int, channels: int, momentum: float, epsilon: float,
    policy: str,
) -> None:  # fmt: skip
    shape = (height, width, channels)
    draw = np.random.default_rng((images, *shape))
    batch = draw.normal(0.3, 2, (images, *shape)).astype(np.float32)
    wanted = draw.normal(0, 1, (images, *shape)).astype(np.float32)
    composed, fused = (
        model_of(layer_of(policy, momentum=momentum, epsilon=epsilon), shape) for _ in range(2)
    )
    fuse_batch_norm(fused)
    # Bfloat16 has 8 bits; the gradient of few values is a difference of nearly equal numbers.
    rounding = 3e-3 if policy == "float32" else 0.15
    for ours, theirs in zip(
        step_of(fused, batch, wanted), step_of(composed, batch, wanted), strict=True
    ):
        scale = max(1.0, float(np.abs(theirs).max()))
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=rounding)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_outside_of_training_nothing_changes_to_the_bit(policy: str) -> None:
    batch = np.random.default_rng(7).normal(size=(5, 6, 6, 16)).astype(np.float32)
    composed, fused = (model_of(layer_of(policy), (6, 6, 16)) for _ in range(2))
    fuse_batch_norm(fused)
    np.testing.assert_array_equal(
        fused.predict(batch, verbose=0), composed.predict(batch, verbose=0)
    )


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        pytest.param({}, (8,), id="vectors"),
        pytest.param({"axis": 1}, (4, 4, 4), id="another axis"),
        pytest.param({"renorm": True}, (4, 4, 4), id="renormalised"),
        pytest.param({"dtype": "float64"}, (4, 4, 4), id="double precision"),
        pytest.param({"trainable": False}, (4, 4, 4), id="frozen"),
    ],
)
def test_what_has_no_such_operation_stays_keras_s(
    arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    arguments = {"dtype": "float32", **arguments}
    batch = np.random.default_rng(7).normal(size=(6, *shape)).astype(arguments["dtype"])
    models = []
    for _ in range(2):
        image = keras.Input(shape, dtype=arguments["dtype"])
        models.append(keras.Model(image, keras.layers.BatchNormalization(**arguments)(image)))
    fuse_batch_norm(models[0])
    for _ in range(2):
        ours, theirs = (np.asarray(model(batch, training=True)) for model in models)
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_subclass_of_one_s_own_and_nested_models() -> None:
    class Own(keras.layers.BatchNormalization):
        pass

    inner = keras.Sequential([keras.Input((4, 4, 16)), keras.layers.BatchNormalization()])
    outer = keras.Sequential([keras.Input((4, 4, 16)), inner, Own()])
    fuse_batch_norm(outer)
    assert "call" in vars(inner.layers[0])
    assert "call" not in vars(outer.layers[-1])


def test_a_saved_model_is_plain_keras_s(tmp_path: Path) -> None:
    model = model_of(layer_of("float32"), (4, 4, 16))
    fuse_batch_norm(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    batch = np.random.default_rng(7).normal(size=(5, 4, 4, 16)).astype(np.float32)
    assert type(loaded.layers[-1]) is keras.layers.BatchNormalization
    assert "call" not in vars(loaded.layers[-1])
    np.testing.assert_array_equal(loaded(batch), model(batch))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(FusedAdam, keras.optimizers.Adam), (FusedAdamW, keras.optimizers.AdamW)],
)
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="plain"),
        pytest.param({"amsgrad": True}, id="amsgrad"),
        pytest.param(
            {"weight_decay": 0.01, "global_clipnorm": 0.5, "beta_1": 0.8, "beta_2": 0.95},
            id="decayed-and-clipped",
        ),
        pytest.param(
            {"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 20)}, id="scheduled"
        ),
    ],
)
def test_adam_steps_as_keras_s(ours: Any, theirs: Any, arguments: dict[str, Any]) -> None:
    arguments = {"learning_rate": 0.05, **arguments}
    draw = np.random.default_rng(7)
    start = [draw.normal(size=(5, 3)).astype(np.float32), draw.normal(size=3).astype(np.float32)]
    gradients = [[draw.normal(size=a.shape).astype(np.float32) for a in start] for _ in range(15)]
    ends = []
    for kind in (ours, theirs):
        optimizer = kind(**arguments)
        variables = [keras.Variable(array) for array in start]
        optimizer.build(variables)
        for drawn in gradients:
            optimizer.apply([tf.constant(gradient) for gradient in drawn], variables)
        ends.append([v.numpy() for v in (*variables, *optimizer.variables)])
    for mine, its in zip(*ends, strict=True):
        np.testing.assert_allclose(mine, its, rtol=2e-5, atol=2e-5)  # of steps of 0.05


def test_adam_takes_the_gradients_of_rows() -> None:
    table = keras.Variable(np.ones((4, 2), np.float32))
    optimizer = FusedAdam(0.1)
    optimizer.build([table])
    optimizer.apply([tf.IndexedSlices(tf.ones((1, 2)), tf.constant([2]), (4, 2))], [table])
    assert table.numpy()[2, 0] < 1.0
    assert table.numpy()[0, 0] == 1.0
