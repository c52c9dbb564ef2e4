"""Plans a network: its layers, their sizes and their cost, without Keras.

The builder follows the plan, so names, order and shapes are defined only here. A search calls it
thousands of times to find out which networks can be built.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fmnist_sweep.config.model_schema import ConvBlock, FcLayer, Head, ModelConfig
from fmnist_sweep.model.conv_block import add_conv_block
from fmnist_sweep.model.layers import LayerKind, LayerPlan, Net


@dataclass(frozen=True)
class NetPlan:
    """All layers in order, and their sums. `depth` is the number of convolutions (a separable one
    is one) and fully connected layers, including the last one. Shortcuts, and the layers of a
    squeeze, are not counted. Only layers with kernels have `mflops`."""

    layers: tuple[LayerPlan, ...]
    parameters: int
    trainable_parameters: int
    mflops: float
    depth: int


def plan_cnn(model: ModelConfig, input_shape: tuple[int, int, int], classes: int) -> NetPlan:
    """Plan the network for images of shape `input_shape` (height, width, channels).

    Raises InfeasibleModel if a filter is larger than its padded image, a pool would shrink the
    image below one pixel, or a residual block's image cannot be added to what it began with.
    """
    net = Net(input_shape)
    for number, block in enumerate(model.conv_blocks):
        add_conv_block(net, f"conv{number}", block.times(model.width))
    if model.conv_blocks and model.conv_blocks[-1].is_preactivated:
        _add_last_activation(net, model.conv_blocks[-1])
    _add_vector(net, model.head)
    for number, layer in enumerate(model.fc_layers):
        _add_fc_layer(net, number, layer)
    _add_head(net, model.head, classes)
    return NetPlan(
        layers=tuple(net.layers),
        parameters=sum(layer.parameters for layer in net.layers),
        trainable_parameters=sum(layer.trainable_parameters for layer in net.layers),
        mflops=sum(layer.mflops for layer in net.layers),
        depth=sum(layer.kind in _COUNTED for layer in net.layers),
    )


_COUNTED = (LayerKind.CONV, LayerKind.POINTWISE, LayerKind.DENSE)


def _add_last_activation(net: Net, block: ConvBlock) -> None:
    """A preactivated block ends with a sum, which is normalised and activated before the head (He
    et al. 2016, arXiv 1603.05027)."""
    if block.batch_norm:
        net.add_batch_norm("features_bn", block)
    net.add("features_act", LayerKind.ACTIVATION, block)


def _add_vector(net: Net, head: Head) -> None:
    if head.pool == "flatten":
        net.add("flatten", LayerKind.FLATTEN, head, (prod(net.shape),))
    else:
        net.add("global_pool", LayerKind.GLOBAL_POOL, head, (net.shape[-1],))


def _add_fc_layer(net: Net, number: int, layer: FcLayer) -> None:
    name = f"fc{number}"
    if layer.batch_norm:
        net.add_batch_norm(f"{name}_bn", layer)
    # Present at rate 0.0 too, where it costs nothing, so that a network has the same layers for
    # every rate.
    if layer.dropout_position == "before":
        net.add(f"{name}_drop", LayerKind.DROPOUT, layer)
    net.add_dense(name, layer, layer.neurons, layer.bias)
    net.add(f"{name}_act", LayerKind.ACTIVATION, layer)
    if layer.dropout_position == "after":
        net.add(f"{name}_drop", LayerKind.DROPOUT, layer)


def _add_head(net: Net, head: Head, classes: int) -> None:
    if head.batch_norm:
        net.add_batch_norm("head_bn", head)
    net.add("head_drop", LayerKind.DROPOUT, head)
    net.add_dense("head", head, classes, bias=True)
    net.add("head_act", LayerKind.SOFTMAX, head)
