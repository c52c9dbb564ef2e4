"""Plans a network: its layers, their sizes and their cost, without Keras.

The builder follows the plan, so names, order and shapes are defined only here. A search calls it
thousands of times to find out which networks can be built.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import Literal, NamedTuple

from fmnist_sweep.config.model_schema import ConvBlock, FcLayer, Head, ModelConfig, Size
from fmnist_sweep.errors import InfeasibleModel


class LayerKind(StrEnum):
    """The type of a layer."""

    PAD = "pad"
    CONV = "conv"
    BATCH_NORM = "batch_norm"
    ACTIVATION = "activation"
    POOL = "pool"
    NO_POOL = "no_pool"
    DROPOUT = "dropout"
    FLATTEN = "flatten"
    GLOBAL_POOL = "global_pool"
    DENSE = "dense"
    SOFTMAX = "softmax"


class LayerPlan(NamedTuple):
    """One layer. `part` is the piece of the config that holds its settings; `output_shape` is
    (height, width, channels) or (features,), without the batch; `mflops` are millions of
    operations for one image's forward pass, a multiply and an add counted as two; `activation` is
    the one that a dense layer applies itself, None where a layer of its own follows."""

    name: str
    kind: LayerKind
    part: ConvBlock | FcLayer | Head
    output_shape: tuple[int, ...]
    parameters: int
    trainable_parameters: int
    mflops: float
    activation: str | None = None


@dataclass(frozen=True)
class NetPlan:
    """All layers in order, and their sums. `depth` is the number of convolutions and fully
    connected layers, including the last one. Only those two kinds have `mflops`."""

    layers: tuple[LayerPlan, ...]
    parameters: int
    trainable_parameters: int
    mflops: float
    depth: int


def plan_cnn(model: ModelConfig, input_shape: tuple[int, int, int], classes: int) -> NetPlan:
    """Plan the network for images of shape `input_shape` (height, width, channels).

    Raises InfeasibleModel if a filter is larger than its padded image or a pool would shrink the
    image below one pixel.
    """
    net = _Net(input_shape)
    for number, block in enumerate(model.conv_blocks):
        _add_conv_block(net, number, block)
    _add_vector(net, model.head)
    for number, layer in enumerate(model.fc_layers):
        _add_fc_layer(net, number, layer)
    _add_head(net, model.head, classes)
    return NetPlan(
        layers=tuple(net.layers),
        parameters=sum(layer.parameters for layer in net.layers),
        trainable_parameters=sum(layer.trainable_parameters for layer in net.layers),
        mflops=sum(layer.mflops for layer in net.layers),
        depth=sum(layer.kind in (LayerKind.CONV, LayerKind.DENSE) for layer in net.layers),
    )


class _Net:
    """The layers so far, and the output shape of the last one."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.layers: list[LayerPlan] = []
        self.shape = input_shape
        self.sizes = [input_shape[:2]]

    def add(
        self,
        name: str,
        kind: LayerKind,
        part: ConvBlock | FcLayer | Head,
        shape: tuple[int, ...] | None = None,
        parameters: int = 0,
        trainable: int = 0,
        mflops: float = 0.0,
    ) -> None:
        if shape is not None:
            self.shape = shape
            if len(shape) == 3 and shape[:2] != self.sizes[-1]:
                self.sizes.append(shape[:2])
        self.layers.append(LayerPlan(name, kind, part, self.shape, parameters, trainable, mflops))

    def add_batch_norm(self, name: str, part: ConvBlock | FcLayer | Head) -> None:
        channels = self.shape[-1]
        # Scale and offset are trainable; the moving mean and variance are not.
        self.add(name, LayerKind.BATCH_NORM, part, parameters=4 * channels, trainable=2 * channels)

    def add_dense(self, name: str, part: FcLayer | Head, neurons: int, bias: bool) -> None:
        weights = self.shape[-1] * neurons
        parameters = weights + neurons * bias
        self.add(name, LayerKind.DENSE, part, (neurons,), parameters, parameters, 2 * weights / 1e6)

    def slide(
        self,
        what: str,
        window: tuple[int, int],
        stride: tuple[int, int],
        pad: Literal["same", "valid"],
        trouble: str,
    ) -> tuple[int, int]:
        """Return the (height, width) after a sliding window over the current image."""
        height, width = self.shape[:2]
        if pad == "same":
            return -(-height // stride[0]), -(-width // stride[1])
        if window[0] > height or window[1] > width:
            image = f"{height}x{width}"
            way = " -> ".join(f"{high}x{wide}" for high, wide in self.sizes)
            raise InfeasibleModel(
                f"{what} {window[0]}x{window[1]} {trouble.format(image=image)} ({way}); "
                f"allowed here: at most {image}"
            )
        return (height - window[0]) // stride[0] + 1, (width - window[1]) // stride[1] + 1


def _add_conv_block(net: _Net, number: int, block: ConvBlock) -> None:
    name = f"conv{number}"
    if not isinstance(block.pad, str) and block.pad > 0:
        height, width, channels = net.shape
        padded = (height + 2 * block.pad, width + 2 * block.pad, channels)
        net.add(f"{name}_pad", LayerKind.PAD, block, padded)
    _add_convolution(net, number, block)
    if block.batch_norm and block.batch_norm_position == "before_activation":
        net.add_batch_norm(f"{name}_bn", block)
    net.add(f"{name}_act", LayerKind.ACTIVATION, block)
    if block.batch_norm and block.batch_norm_position == "after_activation":
        net.add_batch_norm(f"{name}_bn", block)
    _add_pool(net, number, block)
    if block.dropout > 0.0:
        net.add(f"{name}_drop", LayerKind.DROPOUT, block)


def _add_convolution(net: _Net, number: int, block: ConvBlock) -> None:
    window = size_pair(block.filter)
    height, width = net.slide(
        f"conv block {number}: filter",
        window,
        size_pair(block.stride),
        conv_padding(block),
        "is larger than its padded image {image}",
    )
    weights = prod(window) * net.shape[-1] * block.channels
    parameters = weights + block.channels * block.bias
    net.add(
        f"conv{number}",
        LayerKind.CONV,
        block,
        (height, width, block.channels),
        parameters,
        parameters,
        2 * weights * height * width / 1e6,
    )


def _add_pool(net: _Net, number: int, block: ConvBlock) -> None:
    window, stride = size_pair(block.pool), pool_stride(block)
    if window == stride == (1, 1):
        net.add(f"conv{number}_pool", LayerKind.NO_POOL, block)
        return
    height, width = net.slide(
        f"conv block {number}: pool",
        window,
        stride,
        block.pool_pad,
        "would shrink {image} below one pixel",
    )
    net.add(f"conv{number}_pool", LayerKind.POOL, block, (height, width, net.shape[-1]))


def _add_vector(net: _Net, head: Head) -> None:
    if head.pool == "flatten":
        net.add("flatten", LayerKind.FLATTEN, head, (prod(net.shape),))
    else:
        net.add("global_pool", LayerKind.GLOBAL_POOL, head, (net.shape[-1],))


def _add_fc_layer(net: _Net, number: int, layer: FcLayer) -> None:
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


def _add_head(net: _Net, head: Head, classes: int) -> None:
    if head.batch_norm:
        net.add_batch_norm("head_bn", head)
    net.add("head_drop", LayerKind.DROPOUT, head)
    net.add_dense("head", head, classes, bias=True)
    net.add("head_act", LayerKind.SOFTMAX, head)


def size_pair(size: Size) -> tuple[int, int]:
    """Return (height, width) of a size given as a number or a pair."""
    if isinstance(size, int):
        return (size, size)
    height, width = size
    return (height, width)


def pool_stride(block: ConvBlock) -> tuple[int, int]:
    """Return the pool's stride; by default windows do not overlap."""
    return size_pair(block.pool if block.pool_stride is None else block.pool_stride)


def conv_padding(block: ConvBlock) -> Literal["same", "valid"]:
    """Return the convolution's `padding` argument; a number of pixels is a separate layer before
    it."""
    return "same" if block.pad == "same" else "valid"
