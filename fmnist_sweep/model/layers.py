"""The layers of a network on paper: their kinds, their plans, and a network that grows by them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

from fmnist_sweep.config.model_schema import ConvBlock, FcLayer, Head, Size
from fmnist_sweep.errors import InfeasibleModel


class LayerKind(StrEnum):
    """The type of a layer."""

    PAD = "pad"
    CONV = "conv"
    DEPTHWISE = "depthwise"
    POINTWISE = "pointwise"
    PROJECTION = "projection"
    BATCH_NORM = "batch_norm"
    ACTIVATION = "activation"
    POOL = "pool"
    NO_POOL = "no_pool"
    DROPOUT = "dropout"
    SQUEEZE = "squeeze"
    SQUEEZED = "squeezed"
    EXCITATION = "excitation"
    SCALE = "scale"
    STOCHASTIC_DEPTH = "stochastic_depth"
    ADD = "add"
    FLATTEN = "flatten"
    GLOBAL_POOL = "global_pool"
    DENSE = "dense"
    SOFTMAX = "softmax"


class LayerPlan(NamedTuple):
    """One layer. `part` is the piece of the config that holds its settings; `output_shape` is
    (height, width, channels) or (features,), without the batch; `mflops` are millions of
    operations for one image's forward pass, a multiply and an add counted as two; `inputs` are the
    layers that it reads, by their number, -1 being the image, None the layer before; `stride` is a
    convolution's; `activation` is the one that a dense layer applies itself, None where a layer of
    its own follows."""

    name: str
    kind: LayerKind
    part: ConvBlock | FcLayer | Head
    output_shape: tuple[int, ...]
    parameters: int
    trainable_parameters: int
    mflops: float
    inputs: tuple[int, ...] | None = None
    stride: tuple[int, int] = (1, 1)
    activation: str | None = None


_RESIZING = (LayerKind.PAD, LayerKind.CONV, LayerKind.DEPTHWISE, LayerKind.POOL)


class Place(NamedTuple):
    """A layer by its number, -1 being the image, and its output shape."""

    layer: int
    shape: tuple[int, ...]


class Net:
    """The layers so far. The next one reads `here`, which is the last one unless it was set."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.layers: list[LayerPlan] = []
        self.here = Place(-1, input_shape)
        self._sizes: list[tuple[int, ...]] = [input_shape[:2]]

    @property
    def shape(self) -> tuple[int, ...]:
        """The output shape of the layer that the next one reads."""
        return self.here.shape

    @property
    def way(self) -> str:
        """The sizes of the image so far, such as `28x28 -> 14x14`."""
        return " -> ".join(f"{height}x{width}" for height, width in self._sizes)

    def add(
        self,
        name: str,
        kind: LayerKind,
        part: ConvBlock | FcLayer | Head,
        shape: tuple[int, ...] | None = None,
        parameters: int = 0,
        trainable: int = 0,
        mflops: float = 0.0,
        beside: Place | None = None,
        stride: tuple[int, int] = (1, 1),
    ) -> None:
        """Add a layer; without a shape it keeps its input's. `beside`: its second input."""
        shape = self.shape if shape is None else shape
        if kind in _RESIZING and shape[:2] != self._sizes[-1]:
            self._sizes.append(shape[:2])
        inputs: tuple[int, ...] | None = None
        if beside is not None:
            inputs = (self.here.layer, beside.layer)
        elif self.here.layer != len(self.layers) - 1:
            inputs = (self.here.layer,)
        self.layers.append(
            LayerPlan(name, kind, part, shape, parameters, trainable, mflops, inputs, stride)
        )
        self.here = Place(len(self.layers) - 1, shape)

    def add_batch_norm(self, name: str, part: ConvBlock | FcLayer | Head) -> None:
        """Add a normalisation of each channel."""
        channels = self.shape[-1]
        # Scale and offset are trainable; the moving mean and variance are not.
        self.add(name, LayerKind.BATCH_NORM, part, parameters=4 * channels, trainable=2 * channels)

    def add_dense(self, name: str, part: FcLayer | Head, neurons: int, bias: bool) -> None:
        """Add a fully connected layer."""
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
            raise InfeasibleModel(
                f"{what} {window[0]}x{window[1]} {trouble.format(image=image)} ({self.way}); "
                f"allowed here: at most {image}"
            )
        return (height - window[0]) // stride[0] + 1, (width - window[1]) // stride[1] + 1


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
