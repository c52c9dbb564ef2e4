"""What the schema refuses, and the one line that says so."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.fields import allowed_keys, allowed_values, paths_to, tags_with
from fmnist_sweep.config.load import load_config
from fmnist_sweep.config.messages import ALIASES
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError

PLAIN: dict[str, Any] = compose_config().model_dump()
FREE = {("tracking", "tags"), ("space",), ("variants",)}


def blocks(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each block of fixed keys."""
    if isinstance(node, dict):
        if path not in FREE:
            yield path
        for key, inner in node.items():
            yield from blocks(inner, (*path, key))
    elif isinstance(node, list):
        for index, inner in enumerate(node):
            yield from blocks(inner, (*path, index))


def leaves(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(node, dict | list):
        for key, below in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(below, (*path, key))


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    config = copy.deepcopy(PLAIN)
    node: Any = config
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return config


def refusal(config: dict[str, Any]) -> str | None:
    try:
        load_config(OmegaConf.create(config))
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.sampled_from(list(blocks(PLAIN))), st.from_regex(r"[a-z]{1,8}_x", fullmatch=True))
def test_unknown_key_is_refused_at_any_depth(path: tuple[str | int, ...], key: str) -> None:
    where = ".".join(map(str, (*path, key)))
    message = refusal(changed((*path, key), 1))
    assert message is not None
    assert message.startswith(f"{where}=1: unknown key; ")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.from_regex(r"[a-z]{1,3}"), inner)
    ),
    max_leaves=3,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=120)
@given(st.sampled_from(list(leaves(PLAIN))), VALUES)
@example(("model", "conv_blocks"), [{"channels": 1, "filter": [1, 2, 3]}])
@example(("train", "optimizer", "learning_rate"), float("inf"))
@example(("split", "validation"), 1.5)
def test_any_value_is_taken_or_refused_in_one_line(path: tuple[str | int, ...], value: Any) -> None:
    message = refusal(changed(path, value))
    if message is not None:
        assert "\n" not in message
        assert message.startswith(str(path[0]))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train.batch_size", 0, "train.batch_size=0: must be at least 1"),
        (
            "train.batch_size",
            "64",
            "train.batch_size='64': must be a whole number of at least 1",
        ),
        ("train.batch_size", 6.5, "train.batch_size=6.5: must be a whole number of at least 1"),
        (
            "train.threads",
            "auto",
            "train.threads=auto: must be a whole number of at least 1 or null",
        ),
        (
            "train.optimizer.name",
            "adm",
            "train.optimizer.name=adm: must be one of adam, adamw, sgd, rmsprop; "
            "did you mean adam?",
        ),
        (
            "train.optimizer.learning_rate",
            float("nan"),
            "train.optimizer.learning_rate=nan: must be a finite number",
        ),
        ("train.label_smoothing", 1.0, "train.label_smoothing=1.0: must be less than 1.0"),
        (
            "train.steps",
            100,
            "train.epochs=5 and steps=100: only one can be set; set the other to null",
        ),
        (
            "model.conv_blocks.1.pad",
            "smae",
            "model.conv_blocks.1.pad=smae: must be a whole number of at least 0 or "
            "one of same, valid; did you mean same?",
        ),
        (
            "model.conv_blocks.0.filter",
            [3],
            "model.conv_blocks.0.filter=[3]: must be a whole number of at least 1 or a list of 2",
        ),
        (
            "model.conv_blocks.0.filter",
            [3, 0],
            "model.conv_blocks.0.filter.1=0: must be at least 1",
        ),
        (
            "model.conv_blocks.0.convs",
            0,
            "model.conv_blocks.0.convs=0: must be at least 1",
        ),
        (
            "model.conv_blocks.0.convs",
            101,
            "model.conv_blocks.0.convs=101: must be at most 100",
        ),
        (
            "model.conv_blocks.0.repeat",
            0,
            "model.conv_blocks.0.repeat=0: must be at least 1",
        ),
        (
            "model.conv_blocks.0.repeat",
            10**8,
            "model.conv_blocks.0.repeat=100000000: must be at most 1000",
        ),
        (
            "model.conv_blocks.0.squeeze_excite",
            1.5,
            "model.conv_blocks.0.squeeze_excite=1.5: must be at most 1.0",
        ),
        (
            "model.conv_blocks.0.residual",
            "mul",
            "model.conv_blocks.0.residual=mul: must be one of none, add",
        ),
        (
            "model.conv_blocks.0.stochastic_depth",
            0.5,
            "model.conv_blocks.0.stochastic_depth=0.5 with residual=none: without a shortcut "
            "nothing would be left; allowed here: 0",
        ),
        (
            "model.width",
            1e308,
            "model.width=1e+308: must be at most 1000.0",
        ),
        (
            "model.head.weight_init",
            {"name": "zeros", "stddev": 0.1},
            "model.head.weight_init: zeros takes no stddev",
        ),
        (
            "split.scheme",
            "balancd",
            "split.scheme=balancd: must be one of balanced, stratified, kfold, wrapper, official; "
            "did you mean balanced?",
        ),
        (
            "sweep.name",
            "../elsewhere",
            "sweep.name=../elsewhere: must be a name of at most 100 letters, digits, '.', '_' "
            "and '-', the first a letter or a digit",
        ),
        (
            "sweep.objective.metric",
            "accuracy",
            "sweep.objective.metric=accuracy is not a validation metric; "
            "allowed: val_accuracy, val_loss, val_balanced_accuracy, val_macro_f1, "
            "val_top3_accuracy, val_ece",
        ),
        ("sweep.confirm", {"top": 3}, "sweep.confirm.seeds: missing; must be a whole number "),
        (
            "tuner.factor",
            3,
            "tuner.factor=3: that key belongs to hyperband; choose tuner=hyperband",
        ),
    ],
)
def test_line_names_key_value_and_what_is_allowed(path: str, value: Any, message: str) -> None:
    keys = [int(key) if key.isdigit() else key for key in path.split(".")]
    said = refusal(changed(tuple(keys), value))
    assert said is not None
    assert said.startswith(message)
    assert len(message) > len(path) + 10


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (("model", "conv_blocks", 0, "filters"), "channels"),
        (("model", "conv_blocks", 0, "kernel_size"), "filter"),
        (("model", "conv_blocks", 0, "strides"), "stride"),
        (("model", "conv_blocks", 0, "padding"), "pad"),
        (("model", "conv_blocks", 0, "pool_size"), "pool"),
        (("model", "fc_layers", 0, "units"), "neurons"),
        (("model", "fc_layers", 0, "rate"), "dropout"),
        (("model", "head", "kernel_initializer"), "weight_init"),
        (("train", "optimizer", "lr"), "learning_rate"),
        (("train", "lr"), "train.optimizer.learning_rate"),
        (("train", "batchsize"), "batch_size"),
        (("batch_size",), "train.batch_size"),
        (("train", "epoch"), "epochs"),
        (("model", "conv_bloks"), "conv_blocks"),
    ],
)
def test_unknown_key_is_led_to_ours(path: tuple[str | int, ...], meant: str) -> None:
    said = refusal(changed(path, 1))
    assert said is not None
    assert said.endswith(f"unknown key; did you mean {meant}?")


def test_aliases_lead_to_keys_that_exist() -> None:
    known = {str(key) for path in blocks(PLAIN) for key in allowed_keys(path, PLAIN)}
    assert set(ALIASES.values()) <= known
    assert not set(ALIASES) & known


def test_mistake_in_the_defaults_is_told_once() -> None:
    said = refusal(changed(("model", "conv_defaults", "filters"), 3))
    assert said is not None
    assert said == "model.conv_defaults.filters=3: unknown key; did you mean channels?"


def test_further_mistakes_are_counted() -> None:
    config = changed(("train", "batch_size"), 0)
    config["train"]["seed"] = -1
    config["model"]["conv_blocks"][0]["pad"] = "x"
    said = refusal(config)
    assert said is not None
    assert said.endswith("(and 2 more)")


def test_missing_key_and_unknown_reference_are_refused() -> None:
    config = copy.deepcopy(PLAIN)
    del config["train"]["seed"]
    assert str(refusal(config)).startswith("train.seed: missing; must be a whole number")
    assert str(refusal(changed(("train", "seed"), "${nosuch}"))).startswith("train.seed: ")
    assert refusal(changed(("train", "seed"), "???")) == "train.seed: missing; write train.seed=..."


def test_sweep_s_objective_decides_what_best_means() -> None:
    config = changed(("space",), {"train": {"batch_size": {"choice": [32, 64]}}})
    config["sweep"]["objective"] = {"metric": "val_loss", "direction": "min"}
    swept = load_config(OmegaConf.create(config))
    assert swept.train.monitor == swept.sweep.objective
    single = load_config(OmegaConf.create({**config, "space": None}))
    assert single.train.monitor.metric == "val_accuracy"


def test_words_for_what_is_allowed() -> None:
    assert allowed_keys(()) == list(Config.model_fields)
    assert allowed_keys(("train", "seed")) == []
    assert allowed_keys(("tuner",), {"tuner": {"name": "random"}}) == ["name", "seed"]
    assert tags_with(("tuner", "beta")) == ["bayesian"]
    assert tags_with(("train", "seed")) == []
    assert allowed_values(("train", "epochs")) == "a whole number of at least 1 or null"
    assert allowed_values(("train", "optimizer", "nesterov")) == "true or false"
    assert paths_to("final_fraction") == ["train.schedule.final_fraction"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("experiment", "", "tracking.experiment='': must be a name of 1 to 250 printable"),
        ("experiment", "  ", "tracking.experiment='  ': must be a name of 1 to 250 printable"),
        ("experiment", "a\tb", "tracking.experiment='a\\tb': must be a name of 1 to 250 printable"),
        ("experiment", "x" * 251, "tracking.experiment=xxx"),
        ("experiment", "x" * 250, None),
        ("experiment", "Größe 7 / b", None),
        ("tags", {"": "v"}, "tracking.tags: '': must be a name of 1 to 250 letters"),
        ("tags", {"k" * 251: "v"}, "tracking.tags: kkk"),
        ("tags", {"a//b": "v"}, "tracking.tags: a//b: must be a name of 1 to 250 letters"),
        ("tags", {"../a": "v"}, "tracking.tags: ../a: must be a name"),
        ("tags", {"/a": "v"}, "tracking.tags: /a: must be a name"),
        ("tags", {"a=b": "v"}, "tracking.tags: a=b: must be a name"),
        ("tags", {"team/size: 1.5-b": "v", "k" * 250: "v"}, None),
    ],
)
def test_names_that_mlflow_or_the_file_system_would_refuse(
    key: str, value: Any, said: str | None
) -> None:
    told = refusal(changed(("tracking", key), value))
    assert told is None if said is None else str(told).startswith(said)


@pytest.mark.parametrize("override", ["+sweep=" + "x" * 300, "+tracking.tags." + "x" * 300 + "=1"])
def test_what_is_too_long_for_a_file_s_name_is_refused(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config([override])
    assert "xxx" in str(caught.value)
    assert "must be a name of at most" in str(caught.value)
