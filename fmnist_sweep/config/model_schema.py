"""The `model` part of a config: conv/pool blocks, fully connected layers, head."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

# The names that Keras 3 knows, listed here so that a config is validated without importing Keras; a
# test compares them with Keras. Not included: `glu`, which halves the channels, and `threshold`,
# which requires two arguments.
Activation = Literal[
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_swish", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish",
    "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign",
    "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "swish", "tanh", "tanh_shrink",
]  # fmt: skip
BiasInitializerName = Literal[
    "constant", "ones", "random_normal", "random_uniform", "truncated_normal", "zeros"
]
# Initializers that scale with fan-in and fan-out, or need a matrix, cannot be used for biases.
InitializerName = Literal[
    "constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal",
    "lecun_uniform", "ones", "orthogonal", "random_normal", "random_uniform",
    "truncated_normal", "zeros",
]  # fmt: skip
INITIALIZER_ARGUMENTS = {
    "random_normal": {"stddev"},
    "truncated_normal": {"stddev"},
    "random_uniform": {"limit"},
    "constant": {"value"},
}


class Strict(BaseModel):
    """A frozen part of a config; unknown keys, type conversions, inf and nan are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
SizePair = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]
Size = PositiveInt | SizePair
"""Pixels, or [height, width]."""
# Far above any published network. Without bounds, a huge number is planned too long, or overflows.
MOST_CONVS, MOST_REPEATS, MOST_WIDTH = 100, 1000, 1000.0


class _Initializer(Strict):
    """An initializer; in YAML a name, or a name with its argument."""

    name: str
    stddev: Annotated[float, Field(gt=0.0)] | None = None
    limit: Annotated[float, Field(gt=0.0)] | None = None
    value: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _only_its_own_arguments(self) -> Self:
        takes = INITIALIZER_ARGUMENTS.get(self.name, set())
        for key in ("stddev", "limit", "value"):
            if getattr(self, key) is not None and key not in takes:
                raise ValueError(f"{self.name} takes no {key}")
        return self


class WeightInitializer(_Initializer):
    """The initializer of a kernel."""

    name: InitializerName


class BiasInitializer(_Initializer):
    """The initializer of a bias."""

    name: BiasInitializerName


class ConvBlock(Strict):
    """One block: padding, convolution, normalisation, activation, pooling, dropout, in that
    order.

    `convs`: so many convolutions, each with its normalisation and activation, the first one with
    the stride. `separable`: each is a depthwise convolution and one of a pixel. `residual: add`
    adds what the block began with, projected by a convolution of one pixel where shapes differ, and
    activates the sum (`residual_activation: post`), or normalises and activates before each
    convolution instead (`pre`). `squeeze_excite`: the squeezed channels as a fraction, 0 for none.
    `stochastic_depth`: how often an image passes by the convolutions in training (Huang et al.
    2016, arXiv 1603.09382). `repeat`: the block so many times, stride and pooling in the first.
    """

    channels: PositiveInt
    convs: Annotated[int, Field(ge=1, le=MOST_CONVS)]
    separable: bool
    residual: Literal["none", "add"]
    residual_activation: Literal["post", "pre"]
    squeeze_excite: Annotated[float, Field(ge=0.0, le=1.0)]
    stochastic_depth: Rate
    repeat: Annotated[int, Field(ge=1, le=MOST_REPEATS)]
    filter: Size
    stride: Size
    pad: Annotated[int, Field(ge=0)] | Literal["same", "valid"]
    bias: bool
    batch_norm: bool
    batch_norm_momentum: Rate
    batch_norm_position: Literal["before_activation", "after_activation"]
    activation: Activation
    pool: Size
    pool_type: Literal["max", "average"]
    pool_stride: Size | None
    pool_pad: Literal["same", "valid"]
    dropout: Rate
    weight_init: WeightInitializer
    bias_init: BiasInitializer

    @model_validator(mode="after")
    def _a_path_past_what_is_left_out(self) -> Self:
        if self.stochastic_depth > 0 and self.residual == "none":
            raise ValueError(
                f"stochastic_depth={self.stochastic_depth:g} with residual=none: without a "
                "shortcut nothing would be left; allowed here: 0"
            )
        return self

    @model_validator(mode="after")
    def _a_stride_that_depthwise_convolutions_have(self) -> Self:
        # TensorFlow has no others.
        if self.separable and isinstance(self.stride, list) and len(set(self.stride)) > 1:
            raise ValueError(
                f"stride={self.stride} with separable=true: must be the same in both directions"
            )
        return self

    @property
    def is_preactivated(self) -> bool:
        """Whether normalisation and activation come before each convolution."""
        return self.residual == "add" and self.residual_activation == "pre"

    @property
    def without_shrinking(self) -> ConvBlock:
        """The block as it is repeated: with neither stride nor pooling."""
        return self.model_copy(update={"stride": 1, "pool": 1, "pool_stride": None})

    def times(self, width: float) -> ConvBlock:
        """Return the block with so many times the channels, rounded, but at least one."""
        if width == 1.0:
            return self
        return self.model_copy(update={"channels": max(1, round(self.channels * width))})

    def squeezed(self, channels: int) -> int:
        """Return how many channels are left when so many are squeezed."""
        return max(1, round(channels * self.squeeze_excite))


class FcLayer(Strict):
    """One fully connected layer: normalisation, dropout, dense, activation."""

    neurons: PositiveInt
    bias: bool
    batch_norm: bool
    batch_norm_momentum: Rate
    dropout: Rate
    dropout_position: Literal["before", "after"]
    activation: Activation
    weight_init: WeightInitializer
    bias_init: BiasInitializer


class Head(Strict):
    """Converts feature maps to a vector (`pool`), followed by the last layer, softmax."""

    pool: Literal["flatten", "average", "max"]
    batch_norm: bool
    batch_norm_momentum: Rate
    dropout: Rate
    weight_init: WeightInitializer
    bias_init: BiasInitializer


class ModelConfig(Strict):
    """A CNN with any number of conv/pool blocks and fully connected layers, including 0.

    A block or layer takes missing keys from `conv_defaults` or `fc_defaults`. `width` multiplies
    the channels of all conv blocks.
    """

    width: Annotated[float, Field(gt=0.0, le=MOST_WIDTH)]
    conv_defaults: ConvBlock
    fc_defaults: FcLayer
    conv_blocks: list[ConvBlock]
    fc_layers: list[FcLayer]
    head: Head

    _given: dict[str, Any] = PrivateAttr()

    @model_validator(mode="wrap")
    @classmethod
    def _fill_from_defaults(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, dict):
            return validate(given)
        filled = dict(given)
        for blocks, defaults in (("conv_blocks", "conv_defaults"), ("fc_layers", "fc_defaults")):
            if isinstance(given.get(blocks), list) and isinstance(given.get(defaults), dict):
                filled[blocks] = [
                    {**given[defaults], **block} if isinstance(block, dict) else block
                    for block in given[blocks]
                ]
        model = validate(filled)
        model._given = copy.deepcopy(given)
        return model

    def as_given(self) -> dict[str, Any]:
        """Return the config as it was written, without the keys that blocks take from the defaults.

        Only then does an override of `conv_defaults` or `fc_defaults` affect the blocks.
        """
        return copy.deepcopy(self._given)
