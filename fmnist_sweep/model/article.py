"""The FashionMNISTCNN article's way to describe a network, and ours: there and back.

The article nests a dict a layer, whose keys carry the layer's name:
`{'conv0': {'conv0_channels': 32, 'conv0_filter': 3}, 'conv1': {…}}`. Its last fully connected
layer is the output layer: `{'fc0': {…}, 'fc1': {'fc1_neurons': 10, 'fc1_activation': 'softmax'}}`.
Beyond its own keys, every field of our blocks, layers and head may be given that way, such as
`conv0_dropout`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ValidationError

from fmnist_sweep.config.messages import ALIASES, one_line
from fmnist_sweep.config.model_schema import ConvBlock, FcLayer, Head, ModelConfig
from fmnist_sweep.config.shipped import shipped_config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.model.layers import LayerKind, LayerPlan

ArticleParams = dict[str, dict[str, Any]]


class _Form(NamedTuple):
    prefix: Literal["conv", "fc"]
    fields: tuple[str, ...]
    defaults: str
    blocks: str
    article_fields: tuple[str, ...]


_CONV = _Form(
    "conv",
    tuple(ConvBlock.model_fields),
    "conv_defaults",
    "conv_blocks",
    ("pad", "channels", "filter", "stride", "pool", "activation"),
)
_FC = _Form(
    "fc", tuple(FcLayer.model_fields), "fc_defaults", "fc_layers", ("neurons", "activation")
)
_FORMS = (_CONV, _FC)
_HEAD_FIELDS = tuple(field for field in Head.model_fields if field != "pool")
_OUTPUT = _FC._replace(fields=_FC.article_fields + _HEAD_FIELDS)


class ArticleNet(NamedTuple):
    """A network in our form and in the article's, whose keys are all there: the given ones, and
    the article's own that were left out."""

    config: ModelConfig
    conv_params: ArticleParams
    fc_params: ArticleParams


def article_net(
    conv_params: Mapping[str, Mapping[str, Any]] | None,
    fc_params: Mapping[str, Mapping[str, Any]] | None,
    classes: int,
) -> ArticleNet:
    """Describe a network for `classes` classes; None stands for the article's own layers, an empty
    `conv_params` for no blocks.

    What a layer does not name comes from the shipped `fashion_mnist_cnn`.
    Raises ConfigError, naming the key, for one that is unknown, for a value that is not allowed and
    where the last of `fc_params` is not the output layer.
    """
    model = shipped_config("model", "fashion_mnist_cnn")
    output = {"neurons": classes, "activation": "softmax"}
    if conv_params is not None:
        model["conv_blocks"] = _blocks(_CONV, conv_params)
    if fc_params is not None:
        model["fc_layers"] = _blocks(_FC, fc_params)
        model["head"] |= _taken_head(model["fc_layers"], output)
    conv_layers = [model["conv_defaults"] | block for block in model["conv_blocks"]]
    fc_layers = [model["fc_defaults"] | layer for layer in model["fc_layers"]]
    return ArticleNet(
        _validated(model),
        _in_article_form(_CONV, conv_layers, conv_params or {}),
        _in_article_form(_FC, [*fc_layers, output], fc_params or {}),
    )


def article_layers(layers: Sequence[LayerPlan]) -> Iterator[LayerPlan]:
    """Yield a plan's layers as the article's summary lists them: a fully connected layer applies
    its activation itself, and the head is numbered as the last of them."""
    number = sum(layer.kind is LayerKind.DENSE for layer in layers) - 1
    dense: LayerPlan | None = None
    for layer in layers:
        layer = layer._replace(name=re.sub(r"^head(?=_|$)", f"fc{number}", layer.name))
        if layer.kind is LayerKind.DENSE:
            dense = layer
        elif dense is None:
            yield layer
        else:  # the activation, which follows its layer
            activation = getattr(layer.part, "activation", "softmax")
            yield dense._replace(name=layer.name, activation=activation)
            dense = None


def _taken_head(layers: list[dict[str, Any]], output: Mapping[str, Any]) -> dict[str, Any]:
    """Take the output layer off the end of `layers`; return what it says of the head."""
    name = f"fc{max(len(layers) - 1, 0)}"
    last = layers.pop() if layers else {}
    if {field: last.pop(field, None) for field in _FC.article_fields} != output:
        example = {f"{name}_{field}": value for field, value in output.items()}
        raise ConfigError(
            f"fc_params does not end with the output layer; the last one has to be {name!r}: "
            f"{example}, as many neurons as there are classes"
        )
    for field in last:
        if field not in _HEAD_FIELDS:
            raise ConfigError(_unknown_key(_OUTPUT, name, f"{name}_{field}"))
    return last


def _blocks(form: _Form, given: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    _refuse_other_than_mapping(f"{form.prefix}_params", given)
    names = [f"{form.prefix}{number}" for number in range(len(given))]
    for name in given:
        if name not in names:
            raise ConfigError(
                f"{form.prefix}_params has the key {name!r}; "
                f"allowed for {len(given)} of them: {', '.join(names)}"
            )
    return [_block(form, name, given[name]) for name in names]


def _block(form: _Form, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_other_than_mapping(f"{form.prefix}_params[{name!r}]", given)
    block: dict[str, Any] = {}
    for key, value in given.items():
        field = str(key).removeprefix(f"{name}_")
        if field == key or field not in form.fields:
            raise ConfigError(_unknown_key(form, name, str(key)))
        block[field] = _plain(value)
    return block


def _refuse_other_than_mapping(what: str, given: object) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} is {given!r}; allowed: a dict")


def _unknown_key(form: _Form, name: str, key: str) -> str:
    bare = re.sub(r"^(conv|fc)\d+_", "", key)
    # Keras's `filters` are our channels, though `filter` is nearer to it in letters.
    close = difflib.get_close_matches(ALIASES.get(bare.lower(), bare), form.fields, n=1)
    advice = (
        f"did you mean {name}_{close[0]}?"
        if close
        else f"allowed: {', '.join(f'{name}_{field}' for field in form.fields)}"
    )
    return f"{form.prefix}_params[{name!r}] has no key {key}; {advice}"


def _plain(value: object) -> object:
    """Python's own number for NumPy's, a list for a tuple: what the schema takes."""
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _in_article_form(
    form: _Form, layers: Sequence[Mapping[str, Any]], given: Mapping[str, Mapping[str, Any]]
) -> ArticleParams:
    params: ArticleParams = {}
    for number, values in enumerate(layers):
        name = f"{form.prefix}{number}"
        params[name] = {f"{name}_{field}": values[field] for field in form.article_fields}
        params[name] |= given.get(name, {})
    return params


class _Root(BaseModel):
    """What messages about a config start from."""

    model: ModelConfig


def _validated(model: Mapping[str, Any]) -> ModelConfig:
    given = {"model": model}
    try:
        return _Root.model_validate(given).model
    except ValidationError as error:
        line = one_line(error, given)
    for form in _FORMS:
        line = re.sub(rf"\bmodel\.{form.blocks}\.(\d+)\.", rf"{form.prefix}\1_", line)
    line = re.sub(r"\bmodel\.head\.", f"fc{len(model['fc_layers'])}_", line)
    raise ConfigError(line)
