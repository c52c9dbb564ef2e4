from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from model_strategies import image_shapes, models
from shipped import FASHION_MNIST, shipped_model

from fmnist_sweep.config.model_schema import (
    Activation,
    BiasInitializerName,
    InitializerName,
    ModelConfig,
)
from fmnist_sweep.config.shipped import shipped_config
from fmnist_sweep.errors import InfeasibleModel
from fmnist_sweep.model.builder import build_cnn
from fmnist_sweep.model.layers import conv_padding, pool_stride, size_pair
from fmnist_sweep.model.plan import NetPlan, plan_cnn

networks = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


PLAIN = {"convs": 1, "repeat": 1, "residual": "none", "stochastic_depth": 0.0}
"""A block of one convolution."""


def shipped_head(**changes: Any) -> dict[str, Any]:
    return {**shipped_config("model", "fashion_mnist_cnn")["head"], **changes}


def planned(model: ModelConfig, image: tuple[int, int, int], classes: int) -> NetPlan | None:
    try:
        return plan_cnn(model, image, classes)
    except InfeasibleModel:
        return None


def layers_of(network: keras.Model) -> list[tuple[str, tuple[int, ...], int, int]]:
    return [
        (
            layer.name,
            tuple(layer.output.shape[1:]),
            layer.count_params(),
            sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights),
        )
        for layer in network.layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]


def mflops_of_kernels(network: keras.Model) -> float:
    """Two operations for each weight of a kernel, at each place where it is applied."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    return (
        sum(
            2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
            for layer in network.layers
            if isinstance(layer, kinds)
        )
        / 1e6
    )


@given(model=models, image=image_shapes, classes=st.integers(2, 5))
@networks
def test_any_network_that_plans_builds_as_planned_and_gives_probabilities(
    model: ModelConfig, image: tuple[int, int, int], classes: int
) -> None:
    plan = planned(model, image, classes)
    assume(plan is not None)
    assert plan is not None
    keras.utils.set_random_seed(0)

    network = build_cnn(model, image, classes)
    images = np.random.default_rng(0).random((3, *image), dtype=np.float32)
    probabilities = keras.ops.convert_to_numpy(network(images, training=False))

    # Keras lists layers by their distance from the end.
    assert sorted(layers_of(network)) == sorted(
        (layer.name, layer.output_shape, layer.parameters, layer.trainable_parameters)
        for layer in plan.layers
    )
    assert network.count_params() == plan.parameters
    assert plan.mflops == pytest.approx(mflops_of_kernels(network))
    assert probabilities.shape == (3, classes)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


@given(model=models, image=image_shapes)
@settings(max_examples=60, deadline=None)
def test_the_plan_refuses_just_what_keras_would_not_build(
    model: ModelConfig, image: tuple[int, int, int]
) -> None:
    blocks = [block.model_copy(update=PLAIN) for block in model.conv_blocks]
    model = model.model_copy(update={"conv_blocks": blocks})
    assert (planned(model, image, 2) is None) == (not keras_can_slide_over(model, image))


def keras_can_slide_over(model: ModelConfig, image: tuple[int, int, int]) -> bool:
    shape: tuple[int | None, ...] = (None, *image)
    for block in model.conv_blocks:
        window: list[keras.layers.Layer] = []
        if isinstance(block.pad, int):
            window.append(keras.layers.ZeroPadding2D(block.pad))
        window.append(
            keras.layers.Conv2D(
                block.channels,
                size_pair(block.filter),
                strides=size_pair(block.stride),
                padding=conv_padding(block),
            )
        )
        window.append(
            keras.layers.MaxPooling2D(
                size_pair(block.pool), strides=pool_stride(block), padding=block.pool_pad
            )
        )
        for layer in window:
            try:
                shape = layer.compute_output_shape(shape)
            except ValueError:
                return False
            if any(size is not None and size < 1 for size in shape):
                return False
    return True


def test_every_block_form_trains_a_step() -> None:
    model = shipped_model(
        conv_blocks=[
            {"channels": 4, "stride": [1, 2], "pad": 0, "bias": False, "dropout": 0.1},
            {
                "channels": 4,
                "filter": [3, 2],
                "pad": "same",
                "batch_norm_position": "after_activation",
                "pool": [2, 3],
                "pool_type": "average",
                "pool_stride": 1,
                "pool_pad": "same",
            },
        ],
        fc_layers=[{"neurons": 8, "dropout_position": "after", "dropout": 0.2}],
        head=shipped_head(pool="average"),
    )
    network = build_cnn(model, (12, 12, 3), classes=4)
    network.compile("sgd", loss="sparse_categorical_crossentropy")
    before = [weight.copy() for weight in network.get_weights()]

    network.train_on_batch(
        np.random.default_rng(0).random((8, 12, 12, 3), dtype=np.float32), np.arange(8) % 4
    )

    assert [layer.name for layer in network.layers[1:]] == [
        *("conv0", "conv0_bn", "conv0_act", "conv0_pool", "conv0_drop"),
        *("conv1", "conv1_act", "conv1_bn", "conv1_pool"),
        "global_pool",
        *("fc0_bn", "fc0", "fc0_act", "fc0_drop"),
        *("head_bn", "head_drop", "head", "head_act"),
    ]
    assert network.get_layer("conv0").use_bias is False
    after = network.get_weights()
    assert all(np.isfinite(weight).all() for weight in after)
    assert any((old != new).any() for old, new in zip(before, after, strict=True))


EACH_KEY = [
    {
        "channels": 4, "convs": 2, "residual": "add", "squeeze_excite": 0.5,
        "stochastic_depth": 0.5, "stride": 2, "repeat": 2, "pad": "same",
    },
    {"channels": 6, "separable": True, "residual": "add", "residual_activation": "pre"},
]  # fmt: skip


def test_a_saved_network_with_each_key_needs_no_code_of_ours(tmp_path: Path) -> None:
    network = build_cnn(shipped_model(conv_blocks=EACH_KEY, width=1.5), (8, 8, 1), classes=3)
    assert {type(layer).__module__.split(".")[0] for layer in network.layers} == {"keras"}
    network.save(tmp_path / "network.keras")
    images = np.random.default_rng(0).random((4, 8, 8, 1), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    code = (
        "import keras, numpy, sys\n"
        "network = keras.saving.load_model('network.keras', safe_mode=True)\n"
        "answers = network(numpy.load('images.npy'), training=False)\n"
        "numpy.save('answers.npy', keras.ops.convert_to_numpy(answers))\n"
        "sys.exit(any(name.startswith('fmnist_sweep') for name in sys.modules))"
    )

    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)

    answers = keras.ops.convert_to_numpy(network(images, training=False))
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), answers, rtol=1e-5)


def test_stochastic_depth_leaves_out_whole_images_of_the_branch() -> None:
    keras.utils.set_random_seed(0)
    network = build_cnn(shipped_model(conv_blocks=EACH_KEY), (8, 8, 1), classes=3)

    ones = np.ones((64, 4, 4, 4), dtype=np.float32)
    kept = keras.ops.convert_to_numpy(network.get_layer("conv0_0_path")(ones, training=True))

    assert (kept == kept[:, :1, :1, :1]).all()
    assert set(np.unique(kept)) == {0.0, 2.0}, "as a dropout: scaled by what is kept"


@pytest.mark.parametrize("pool", [1, [1, 1]])
def test_pool_of_one_pixel_does_no_work(pool: Any) -> None:
    network = build_cnn(shipped_model(conv_blocks=[{"pool": pool}]), FASHION_MNIST, 10)

    assert type(network.get_layer("conv0_pool")) is keras.layers.Identity


def test_pool_of_one_pixel_with_a_stride_subsamples() -> None:
    network = build_cnn(
        shipped_model(conv_blocks=[{"pool": 1, "pool_stride": 2}]), FASHION_MNIST, 10
    )

    assert network.get_layer("conv0_pool").output.shape == (None, 14, 14, 32)


def test_initial_weights_follow_from_keras_seed_alone() -> None:
    model = shipped_model(conv_blocks=[{"channels": 2}], fc_layers=[{"neurons": 3}])

    def weights(seed: int) -> list[Any]:
        keras.utils.set_random_seed(seed)
        return list(build_cnn(model, (8, 8, 1), 3).get_weights())

    first, again, other = weights(0), weights(0), weights(1)

    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_layers_of_one_shape_start_from_different_weights() -> None:
    network = build_cnn(
        shipped_model(conv_blocks=[], fc_layers=[{"neurons": 16}, {"neurons": 16}]), (4, 4, 1), 3
    )

    first, second = (network.get_layer(name).get_weights()[0] for name in ("fc0", "fc1"))
    assert (first != second).any()


def test_initialisers_get_their_arguments() -> None:
    model = shipped_model(
        conv_blocks=[
            {
                "weight_init": {"name": "random_uniform", "limit": 0.25},
                "bias_init": {"name": "constant", "value": 0.5},
            }
        ],
        fc_layers=[{"neurons": 64, "weight_init": {"name": "random_normal", "stddev": 3.0}}],
    )
    network = build_cnn(model, FASHION_MNIST, 10)

    kernel, bias = network.get_layer("conv0").get_weights()
    assert np.abs(kernel).max() <= 0.25
    assert kernel.min() < -0.1
    assert kernel.max() > 0.1
    assert (bias == 0.5).all()
    assert network.get_layer("fc0").get_weights()[0].std() == pytest.approx(3.0, rel=0.02)


def test_each_batch_norm_has_its_own_momentum() -> None:
    network = build_cnn(
        shipped_model(
            conv_blocks=[{"batch_norm_momentum": 0.5}, {"batch_norm_momentum": 0.6}],
            fc_layers=[{"batch_norm_momentum": 0.7}],
            head=shipped_head(batch_norm_momentum=0.8),
        ),
        FASHION_MNIST,
        10,
    )

    layers = ("conv0_bn", "conv1_bn", "fc0_bn", "head_bn")
    assert [network.get_layer(name).momentum for name in layers] == [0.5, 0.6, 0.7, 0.8]


def test_probabilities_are_float32_in_mixed_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_cnn(shipped_model(conv_blocks=[]), FASHION_MNIST, 10)
    finally:
        keras.config.set_dtype_policy("float32")

    probabilities = keras.ops.convert_to_numpy(
        network(np.random.default_rng(0).random((4, 28, 28, 1), dtype=np.float32))
    )
    assert network.get_layer("fc0").compute_dtype == "bfloat16"
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)


def test_a_users_image_format_setting_changes_nothing() -> None:
    keras.config.set_image_data_format("channels_first")
    try:
        network = build_cnn(shipped_model(), FASHION_MNIST, 10)
    finally:
        keras.config.set_image_data_format("channels_last")

    assert network.count_params() == 3_467_402


def test_activation_names_are_keras_own() -> None:
    # glu halves the channels, threshold needs arguments: model_schema says so too.
    offered = {
        name for name in dir(keras.activations) if callable(getattr(keras.activations, name))
    } - {"get", "serialize", "deserialize"}

    assert set(get_args(Activation)) | {"glu", "threshold"} == offered | {"swish", "hard_swish"}


@pytest.mark.parametrize("name", get_args(Activation))
def test_each_activation_works_on_images_and_on_vectors(name: str) -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)

    layer = keras.layers.Activation(name)

    assert layer(images).shape == (2, 3, 3, 4)
    assert layer(images[:, 0, 0]).shape == (2, 4)


def keras_initializers() -> dict[str, type]:
    """Keras's initializer classes in our spelling, such as he_normal."""
    names = {
        value.__name__
        for value in vars(keras.initializers).values()
        if isinstance(value, type) and value is not keras.initializers.Initializer
    }
    return {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): getattr(keras.initializers, name)
        for name in names
    }


def test_initialiser_names_are_keras_own() -> None:
    # identity draws matrices only, stft is for sound, variance_scaling is the family that
    # glorot, he and lecun name.
    needing_more = {"identity", "stft", "variance_scaling"}

    assert set(get_args(InitializerName)) == set(keras_initializers()) - needing_more


def test_bias_initialisers_are_those_that_can_draw_a_vector() -> None:
    scaled = {
        name
        for name, kind in keras_initializers().items()
        if issubclass(kind, keras.initializers.VarianceScaling)
    }

    assert set(get_args(BiasInitializerName)) == (
        set(get_args(InitializerName)) - scaled - {"orthogonal"}
    )


@pytest.mark.parametrize("name", get_args(InitializerName))
def test_each_initialiser_draws_every_kernel_by_its_name(name: str) -> None:
    network = build_cnn(
        shipped_model(
            conv_blocks=[{"channels": 2, "weight_init": name}],
            fc_layers=[{"neurons": 3, "weight_init": name}],
            head=shipped_head(weight_init=name),
        ),
        (4, 4, 1),
        classes=2,
    )

    kinds = {type(network.get_layer(name).kernel_initializer) for name in ("conv0", "fc0", "head")}
    assert kinds == {keras_initializers()[name]}
