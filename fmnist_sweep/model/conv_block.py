"""A conv block on paper: convolutions, a shortcut, squeeze and excitation, pooling, dropout."""

from __future__ import annotations

from math import prod

from fmnist_sweep.config.model_schema import ConvBlock
from fmnist_sweep.errors import InfeasibleModel
from fmnist_sweep.model.layers import (
    LayerKind,
    Net,
    Place,
    conv_padding,
    pool_stride,
    size_pair,
)


def add_conv_block(net: Net, name: str, block: ConvBlock) -> None:
    """Add a block, `repeat` times: stride and pooling are in the first. Its layers' names begin
    with the block's, and with the number of the repetition and of the convolution if there are
    several."""
    for number in range(block.repeat):
        once = block if number == 0 else block.without_shrinking
        _add_once(net, name if block.repeat == 1 else f"{name}_{number}", once)


def _add_once(net: Net, name: str, block: ConvBlock) -> None:
    add_branch = _add_residual if block.residual == "add" else _add_convolutions
    add_branch(net, name, block)
    _add_pool(net, name, block)
    if block.dropout > 0.0:
        net.add(f"{name}_drop", LayerKind.DROPOUT, block)


def _add_convolutions(net: Net, name: str, block: ConvBlock) -> None:
    for number in range(block.convs):
        unit = _unit_name(name, number, block)
        _add_convolution(net, name, unit, block, number)
        _add_activation(net, unit, block)
    _add_squeeze_excite(net, name, block)


def _add_residual(net: Net, name: str, block: ConvBlock) -> None:
    """He et al. 2015 (arXiv 1512.03385); preactivated: He et al. 2016 (arXiv 1603.05027)."""
    start = net.here
    projected = start
    for number in range(block.convs):
        unit = _unit_name(name, number, block)
        if block.is_preactivated:
            _add_activation(net, f"{unit}_pre", block)
            # What is projected is activated too: Zagoruyko & Komodakis 2016 (arXiv 1605.07146).
            projected = net.here if number == 0 else projected
        _add_convolution(net, name, unit, block, number)
        if not block.is_preactivated and number < block.convs - 1:
            _add_activation(net, unit, block)
        elif not block.is_preactivated and block.batch_norm:
            net.add_batch_norm(f"{unit}_bn", block)
    _add_squeeze_excite(net, name, block)
    if block.stochastic_depth > 0.0:
        net.add(f"{name}_path", LayerKind.STOCHASTIC_DEPTH, block)
    branch = net.here
    shortcut = start
    if branch.shape != start.shape:
        shortcut = _projected(net, name, block, projected, branch)
    net.here = branch
    net.add(f"{name}_add", LayerKind.ADD, block, beside=shortcut)
    if not block.is_preactivated:
        net.add(f"{name}_act", LayerKind.ACTIVATION, block)


def _projected(net: Net, name: str, block: ConvBlock, start: Place, branch: Place) -> Place:
    """Add a convolution of one pixel that makes the shortcut's shape the branch's."""
    stride = size_pair(block.stride)
    (height, width), channels = start.shape[:2], start.shape[2]
    reached = (-(-height // stride[0]), -(-width // stride[1]))
    if reached != branch.shape[:2]:
        raise InfeasibleModel(
            f"conv block {name.removeprefix('conv')}: residual=add cannot add "
            f"{branch.shape[0]}x{branch.shape[1]} to {height}x{width} with stride "
            f"{stride[0]}x{stride[1]}, {reached[0]}x{reached[1]} ({net.way}); allowed: pad=same"
        )
    net.here = start
    weights = channels * block.channels
    parameters = weights + block.channels * block.bias
    net.add(
        f"{name}_shortcut",
        LayerKind.PROJECTION,
        block,
        (*reached, block.channels),
        parameters,
        parameters,
        2 * weights * prod(reached) / 1e6,
        stride=stride,
    )
    if block.batch_norm and not block.is_preactivated:
        net.add_batch_norm(f"{name}_shortcut_bn", block)
    return net.here


def _unit_name(name: str, number: int, block: ConvBlock) -> str:
    return name if block.convs == 1 else f"{name}_{number}"


def _add_activation(net: Net, name: str, block: ConvBlock) -> None:
    """Add normalisation and activation, in the block's order."""
    if block.batch_norm and block.batch_norm_position == "before_activation":
        net.add_batch_norm(f"{name}_bn", block)
    net.add(f"{name}_act", LayerKind.ACTIVATION, block)
    if block.batch_norm and block.batch_norm_position == "after_activation":
        net.add_batch_norm(f"{name}_bn", block)


def _add_convolution(net: Net, block_name: str, name: str, block: ConvBlock, number: int) -> None:
    """Add one of the block's convolutions, of which the first has the stride."""
    if not isinstance(block.pad, str) and block.pad > 0:
        height, width, channels = net.shape
        padded = (height + 2 * block.pad, width + 2 * block.pad, channels)
        net.add(f"{name}_pad", LayerKind.PAD, block, padded)
    window = size_pair(block.filter)
    stride = size_pair(block.stride) if number == 0 else (1, 1)
    height, width = net.slide(
        f"conv block {block_name.removeprefix('conv')}: filter",
        window,
        stride,
        conv_padding(block),
        "is larger than its padded image {image}",
    )
    channels = net.shape[-1]
    kind = LayerKind.CONV
    if block.separable:
        shape = (height, width, channels)
        kernel = prod(window) * channels
        _add_kernels(net, f"{name}_depthwise", LayerKind.DEPTHWISE, block, shape, kernel, stride)
        _add_activation(net, f"{name}_depthwise", block)
        kind, window, stride = LayerKind.POINTWISE, (1, 1), (1, 1)
    kernel = prod(window) * channels * block.channels
    _add_kernels(net, name, kind, block, (height, width, block.channels), kernel, stride)


def _add_kernels(
    net: Net,
    name: str,
    kind: LayerKind,
    block: ConvBlock,
    shape: tuple[int, int, int],
    weights: int,
    stride: tuple[int, int],
) -> None:
    parameters = weights + shape[-1] * block.bias
    operations = 2 * weights * shape[0] * shape[1] / 1e6
    net.add(name, kind, block, shape, parameters, parameters, operations, stride=stride)


def _add_squeeze_excite(net: Net, name: str, block: ConvBlock) -> None:
    """Hu et al. 2018 (arXiv 1709.01507): each channel is scaled by a factor that depends on the
    means of all channels."""
    if block.squeeze_excite == 0.0:
        return
    scaled, channels = net.here, net.shape[-1]
    hidden = block.squeezed(channels)
    net.add(f"{name}_squeeze", LayerKind.SQUEEZE, block, (1, 1, channels))
    for part, kind, before, after in (
        ("squeezed", LayerKind.SQUEEZED, channels, hidden),
        ("excitation", LayerKind.EXCITATION, hidden, channels),
    ):
        weights = before * after
        parameters = weights + after
        net.add(
            f"{name}_{part}", kind, block, (1, 1, after), parameters, parameters, 2 * weights / 1e6
        )
    factors, net.here = net.here, scaled
    net.add(f"{name}_scale", LayerKind.SCALE, block, beside=factors)


def _add_pool(net: Net, name: str, block: ConvBlock) -> None:
    window, stride = size_pair(block.pool), pool_stride(block)
    if window == stride == (1, 1):
        net.add(f"{name}_pool", LayerKind.NO_POOL, block)
        return
    height, width = net.slide(
        f"conv block {name.removeprefix('conv')}: pool",
        window,
        stride,
        block.pool_pad,
        "would shrink {image} below one pixel",
    )
    net.add(f"{name}_pool", LayerKind.POOL, block, (height, width, net.shape[-1]))
