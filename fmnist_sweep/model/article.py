"""The FashionMNISTCNN article's way to describe a network, and ours: there and back.

The article nests a dict a layer, whose keys carry the layer's name:
`{'conv0': {'conv0_channels': 32, 'conv0_filter': 3}, 'conv1': {…}}`. Beyond its own keys, every
field of our blocks and layers may be given that way, such as `conv0_dropout`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ValidationError

from fmnist_sweep.config.messages import ALIASES, one_line
from fmnist_sweep.config.model_schema import ConvBlock, FcLayer, ModelConfig
from fmnist_sweep.config.shipped import shipped_config
from fmnist_sweep.errors import ConfigError

ArticleParams = dict[str, dict[str, Any]]


class _Form(NamedTuple):
    prefix: Literal["conv", "fc"]
    schema: type[BaseModel]
    defaults: str
    blocks: str
    article_fields: tuple[str, ...]


_CONV = _Form(
    "conv",
    ConvBlock,
    "conv_defaults",
    "conv_blocks",
    ("pad", "channels", "filter", "stride", "pool", "activation"),
)
_FC = _Form("fc", FcLayer, "fc_defaults", "fc_layers", ("neurons", "activation"))
_FORMS = (_CONV, _FC)


class ArticleNet(NamedTuple):
    """A network in our form and in the article's, whose keys are all there: the given ones, and
    the article's own that were left out."""

    config: ModelConfig
    conv_params: ArticleParams
    fc_params: ArticleParams


def article_net(
    conv_params: Mapping[str, Mapping[str, Any]] | None,
    fc_params: Mapping[str, Mapping[str, Any]] | None,
) -> ArticleNet:
    """Describe a network; None stands for the article's own layers, an empty dict for none.

    What a layer does not name, and the head, come from the shipped `fashion_mnist_cnn`.
    Raises ConfigError, naming the key, for one that is unknown and for a value that is not allowed.
    """
    model = shipped_config("model", "fashion_mnist_cnn")
    params: dict[str, ArticleParams] = {}
    for form, given in zip(_FORMS, (conv_params, fc_params), strict=True):
        if given is not None:
            model[form.blocks] = _blocks(form, given)
        params[form.prefix] = _in_article_form(form, model, given or {})
    return ArticleNet(_validated(model), params["conv"], params["fc"])


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
        if field == key or field not in form.schema.model_fields:
            raise ConfigError(_unknown_key(form, name, str(key)))
        block[field] = _plain(value)
    return block


def _refuse_other_than_mapping(what: str, given: object) -> None:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} is {given!r}; allowed: a dict")


def _unknown_key(form: _Form, name: str, key: str) -> str:
    fields = list(form.schema.model_fields)
    bare = re.sub(r"^(conv|fc)\d+_", "", key)
    # Keras's `filters` are our channels, though `filter` is nearer to it in letters.
    close = difflib.get_close_matches(ALIASES.get(bare.lower(), bare), fields, n=1)
    advice = (
        f"did you mean {name}_{close[0]}?"
        if close
        else f"allowed: {', '.join(f'{name}_{field}' for field in fields)}"
    )
    return f"{form.prefix}_params[{name!r}] has no key {key}; {advice}"


def _plain(value: object) -> object:
    """Python's own number for NumPy's, a list for a tuple: what the schema takes."""
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _in_article_form(
    form: _Form, model: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]
) -> ArticleParams:
    params: ArticleParams = {}
    for number, block in enumerate(model[form.blocks]):
        name = f"{form.prefix}{number}"
        values = {**model[form.defaults], **block}
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
    raise ConfigError(line)
