"""Builds a planned network in Keras."""

from __future__ import annotations

from collections.abc import Iterable

import keras

from fmnist_sweep.config.model_schema import (
    BiasInitializer,
    ConvBlock,
    FcLayer,
    Head,
    ModelConfig,
    WeightInitializer,
)
from fmnist_sweep.model.layers import (
    LayerKind,
    LayerPlan,
    conv_padding,
    pool_stride,
    size_pair,
)
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.turns import in_turn_beside_none

# Images are always (height, width, channels); a user's keras.json may say otherwise.
_DATA_FORMAT = "channels_last"
# In bfloat16 the probabilities would no longer add up to 1, nor the loss be exact.
_PROBABILITIES = "float32"


@in_turn_beside_none("build_cnn")
def build_cnn(
    model_config: ModelConfig, input_shape: tuple[int, int, int], classes: int
) -> keras.Model:
    """Build the network that `plan_cnn` plans, not compiled.

    Its input is float images (n, height, width, channels) scaled to 0..1, its output float32 class
    probabilities (n, classes). Initial weights and dropout depend on Keras's seed: call
    `keras.utils.set_random_seed` before. Raises InfeasibleModel as `plan_cnn` does, UserError while
    a sweep or training is running in another thread.
    """
    return build_layers(plan_cnn(model_config, input_shape, classes).layers, input_shape, "cnn")


def build_layers(
    layers: Iterable[LayerPlan], input_shape: tuple[int, int, int], name: str
) -> keras.Model:
    """Build a network of these layers, each of which reads those before it that it names."""
    image = keras.Input(input_shape, name="image")
    features = [image]
    for layer in layers:
        inputs = [features[number + 1] for number in layer.inputs or (len(features) - 2,)]
        features.append(_keras_layer(layer)(inputs if len(inputs) > 1 else inputs[0]))
    return keras.Model(image, features[-1], name=name)


def _keras_layer(layer: LayerPlan) -> keras.layers.Layer:
    name = layer.name
    match layer.kind, layer.part:
        case LayerKind.PAD, ConvBlock(pad=pixels):
            return keras.layers.ZeroPadding2D(pixels, data_format=_DATA_FORMAT, name=name)
        case LayerKind.CONV, ConvBlock() as block:
            return _convolution(layer, block, size_pair(block.filter))
        case LayerKind.POINTWISE | LayerKind.PROJECTION, ConvBlock() as block:
            return _convolution(layer, block, (1, 1))
        case LayerKind.DEPTHWISE, ConvBlock() as block:
            return _depthwise(layer, block)
        case LayerKind.BATCH_NORM, part:
            return keras.layers.BatchNormalization(momentum=part.batch_norm_momentum, name=name)
        case LayerKind.ACTIVATION, (ConvBlock() | FcLayer()) as part:
            return keras.layers.Activation(part.activation, name=name)
        case LayerKind.POOL, ConvBlock() as block:
            return _pool(name, block)
        case LayerKind.NO_POOL, _:
            return keras.layers.Identity(name=name)
        case LayerKind.DROPOUT, part:
            return keras.layers.Dropout(part.dropout, name=name)
        case LayerKind.STOCHASTIC_DEPTH, ConvBlock(stochastic_depth=rate):
            return keras.layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name)
        case LayerKind.SQUEEZE, _:
            return keras.layers.GlobalAveragePooling2D(
                data_format=_DATA_FORMAT, keepdims=True, name=name
            )
        case (LayerKind.SQUEEZED | LayerKind.EXCITATION) as kind, ConvBlock() as block:
            activation = "relu" if kind is LayerKind.SQUEEZED else "sigmoid"
            return keras.layers.Dense(
                layer.output_shape[-1],
                activation=activation,
                kernel_initializer=_initializer(block.weight_init),
                name=name,
            )
        case LayerKind.SCALE, _:
            return keras.layers.Multiply(name=name)
        case LayerKind.ADD, _:
            return keras.layers.Add(name=name)
        case LayerKind.FLATTEN, _:
            return keras.layers.Flatten(data_format=_DATA_FORMAT, name=name)
        case LayerKind.GLOBAL_POOL, Head() as head:
            return _global_pool(name, head)
        case LayerKind.DENSE, FcLayer() as fc:
            return _dense(layer, fc, fc.neurons, fc.bias)
        case LayerKind.DENSE, Head() as head:
            return _dense(layer, head, layer.output_shape[-1], bias=True)
        case LayerKind.SOFTMAX, _:
            return keras.layers.Activation("softmax", dtype=_PROBABILITIES, name=name)
    raise TypeError(f"no Keras layer for {layer.kind} of a {type(layer.part).__name__}")


def _convolution(layer: LayerPlan, block: ConvBlock, window: tuple[int, int]) -> keras.layers.Layer:
    return keras.layers.Conv2D(
        block.channels,
        window,
        strides=layer.stride,
        padding=conv_padding(block),
        data_format=_DATA_FORMAT,
        use_bias=block.bias,
        kernel_initializer=_initializer(block.weight_init),
        bias_initializer=_initializer(block.bias_init),
        name=layer.name,
    )


def _depthwise(layer: LayerPlan, block: ConvBlock) -> keras.layers.Layer:
    return keras.layers.DepthwiseConv2D(
        size_pair(block.filter),
        strides=layer.stride,
        padding=conv_padding(block),
        data_format=_DATA_FORMAT,
        use_bias=block.bias,
        depthwise_initializer=_initializer(block.weight_init),
        bias_initializer=_initializer(block.bias_init),
        name=layer.name,
    )


def _pool(name: str, block: ConvBlock) -> keras.layers.Layer:
    kinds = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}
    return kinds[block.pool_type](
        size_pair(block.pool),
        strides=pool_stride(block),
        padding=block.pool_pad,
        data_format=_DATA_FORMAT,
        name=name,
    )


def _global_pool(name: str, head: Head) -> keras.layers.Layer:
    kinds = {
        "max": keras.layers.GlobalMaxPooling2D,
        "average": keras.layers.GlobalAveragePooling2D,
    }
    return kinds[head.pool](data_format=_DATA_FORMAT, name=name)


def _dense(layer: LayerPlan, part: FcLayer | Head, neurons: int, bias: bool) -> keras.layers.Layer:
    gives_probabilities = isinstance(part, Head) and layer.activation is not None
    return keras.layers.Dense(
        neurons,
        activation=layer.activation,
        use_bias=bias,
        kernel_initializer=_initializer(part.weight_init),
        bias_initializer=_initializer(part.bias_init),
        dtype=_PROBABILITIES if gives_probabilities else None,
        name=layer.name,
    )


def _initializer(init: WeightInitializer | BiasInitializer) -> keras.initializers.Initializer:
    """Return a new initializer, because a shared one would draw the same numbers twice."""
    arguments: dict[str, float] = {}
    if init.stddev is not None:
        arguments["stddev"] = init.stddev
    if init.limit is not None:
        arguments |= {"minval": -init.limit, "maxval": init.limit}
    if init.value is not None:
        arguments["value"] = init.value
    # By class, because Keras rejects the bare name of `constant`, but not the class.
    kind = getattr(keras.initializers, init.name.title().replace("_", ""))
    return kind(**arguments)
