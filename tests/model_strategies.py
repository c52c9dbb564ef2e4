"""Random small networks, valid by the schema, for property tests."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from fmnist_sweep.config.model_schema import (
    INITIALIZER_ARGUMENTS,
    Activation,
    BiasInitializerName,
    InitializerName,
    ModelConfig,
)

# Exponentials of exponentials overflow, as they would in any library.
ACTIVATIONS = sorted(set(get_args(Activation)) - {"exponential"})
image_shapes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3))
rates = st.sampled_from([0.0, 0.3])


def _sizes(largest: int) -> st.SearchStrategy[Any]:
    one = st.integers(1, largest)
    return one | st.lists(one, min_size=2, max_size=2)


@st.composite
def _initializers(draw: st.DrawFn, names: tuple[str, ...]) -> Any:
    name = draw(st.sampled_from(names))
    argument = next(iter(INITIALIZER_ARGUMENTS.get(name, ())), None)
    if argument is None or draw(st.booleans()):
        return name
    return {"name": name, argument: draw(st.floats(0.01, 0.5))}


weight_inits = _initializers(get_args(InitializerName))
bias_inits = _initializers(get_args(BiasInitializerName))


def _allowed(block: dict[str, Any]) -> dict[str, Any]:
    if block["residual"] == "none":
        block = block | {"stochastic_depth": 0.0}
    if block["separable"] and isinstance(block["stride"], list):
        block = block | {"stride": block["stride"][0]}
    return block


conv_blocks = st.fixed_dictionaries(
    {
        "channels": st.integers(1, 4),
        "convs": st.integers(1, 2),
        "separable": st.booleans(),
        "residual": st.sampled_from(["none", "add"]),
        "residual_activation": st.sampled_from(["post", "pre"]),
        "squeeze_excite": st.sampled_from([0.0, 0.3, 1.0]),
        "stochastic_depth": rates,
        "repeat": st.integers(1, 2),
        "filter": _sizes(4),
        "stride": _sizes(3),
        "pad": st.integers(0, 2) | st.sampled_from(["same", "valid"]),
        "bias": st.booleans(),
        "batch_norm": st.booleans(),
        "batch_norm_momentum": st.sampled_from([0.9, 0.99]),
        "batch_norm_position": st.sampled_from(["before_activation", "after_activation"]),
        "activation": st.sampled_from(ACTIVATIONS),
        "pool": st.just(1) | _sizes(3),
        "pool_type": st.sampled_from(["max", "average"]),
        "pool_stride": st.none() | _sizes(3),
        "pool_pad": st.sampled_from(["same", "valid"]),
        "dropout": rates,
        "weight_init": weight_inits,
        "bias_init": bias_inits,
    }
).map(_allowed)
fc_layers = st.fixed_dictionaries(
    {
        "neurons": st.integers(1, 6),
        "bias": st.booleans(),
        "batch_norm": st.booleans(),
        "batch_norm_momentum": st.sampled_from([0.9, 0.99]),
        "dropout": rates,
        "dropout_position": st.sampled_from(["before", "after"]),
        "activation": st.sampled_from(ACTIVATIONS),
        "weight_init": weight_inits,
        "bias_init": bias_inits,
    }
)
heads = st.fixed_dictionaries(
    {
        "pool": st.sampled_from(["flatten", "average", "max"]),
        "batch_norm": st.booleans(),
        "batch_norm_momentum": st.sampled_from([0.9, 0.99]),
        "dropout": rates,
        "weight_init": weight_inits,
        "bias_init": bias_inits,
    }
)
models = st.fixed_dictionaries(
    {
        "width": st.sampled_from([1.0, 1.0, 0.5, 1.7]),
        "conv_defaults": conv_blocks,
        "fc_defaults": fc_layers,
        "conv_blocks": st.lists(conv_blocks, max_size=3),
        "fc_layers": st.lists(fc_layers, max_size=2),
        "head": heads,
    }
).map(ModelConfig.model_validate)
