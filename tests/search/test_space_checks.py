"""Spaces that cannot be searched: one line that names the thing and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from search_fakes import config_with

from fmnist_sweep.errors import ConfigError
from fmnist_sweep.space.overrides import apply_overrides
from fmnist_sweep.space.reading import read_space

SIZES: dict[str, Any] = {"choice": [8, 16]}
NAMES: dict[str, Any] = {"choice": ["adam", "sgd"]}


def train(**leaves: Any) -> dict[str, Any]:
    return {"train": leaves}


def optimizer(**leaves: Any) -> dict[str, Any]:
    return {"train": {"optimizer": leaves}}


def blocks(**leaves: Any) -> dict[str, Any]:
    return {"model": {"conv_blocks": leaves}}


MISTAKES = [
    # paths
    (train(batch_sise=SIZES), "space.train.batch_sise: unknown key; did you mean batch_size?"),
    (train(lr=SIZES), "space.train.lr: unknown key; did you mean train.optimizer.learning_rate?"),
    ({"trian": {}}, "space.trian: cannot be searched; did you mean train?"),
    ({"data": {"limit": SIZES}}, "space.data: cannot be searched; allowed: model, train"),
    (train(threads=SIZES), "space.train.threads: cannot be searched; allowed: model.*, train.*"),
    (train(stop_epoch=SIZES), "space.train.stop_epoch: cannot be searched; allowed:"),
    (train(monitor={"metric": NAMES}), "space.train.monitor.metric: cannot be searched; allowed:"),
    ({"train": {"choice": [{}]}}, "space.train: cannot be searched; allowed: model.*, train.*"),
    (blocks(each={"filters": SIZES}),
     "space.model.conv_blocks.each.filters: unknown key; did you mean channels?"),
    (blocks(**{"0": {"kernel_size": SIZES}}),
     "space.model.conv_blocks.0.kernel_size: unknown key; did you mean filter?"),
    (blocks(eech={"channels": SIZES}),
     "space.model.conv_blocks.eech: unknown key; allowed: count, each, or a block's number"),
    (blocks(**{"3": {"channels": SIZES}}), "space.model.conv_blocks.3: there are at most 3,"),
    (blocks(**{"00": {"channels": SIZES}}), "space.model.conv_blocks.00: unknown key; allowed:"),
    (train(seed={"deeper": SIZES}), "space.train.seed.deeper: unknown key; train.seed is a whole"),
    # sections and leaves
    (train(batch_size=64), "space.train.batch_size=64: must be a section, or a leaf with int"),
    (train(batch_size=None), "space.train.batch_size=null: must be a section, or a leaf"),
    (train(batch_size=[64]), "space.train.batch_size=[64]: must be a section, or a leaf"),
    (blocks(each=3), "space.model.conv_blocks.each=3: must be a section"),
    (blocks(each=SIZES), 'space.model.conv_blocks.each={"choice": [8, 16]}: must be a section'),
    (blocks(count=3), "space.model.conv_blocks.count=3: must be a leaf with int, choice or fixed"),
    (blocks(count={}), "space.model.conv_blocks.count={}: must be a leaf with int, choice or"),
    (train(batch_size={"choice": [8], "int": [1, 2]}),
     "space.train.batch_size: int and choice in one leaf; allowed: one of choice, fixed, float"),
    (train(batch_size={"choice": [8], "log": True}),
     "space.train.batch_size.log: unknown key; allowed: choice, when"),
    (train(batch_size={"int": [1, 8], "stp": 2}),
     "space.train.batch_size.stp: unknown key; allowed: int, log, step, when"),
    # ranges
    (train(batch_size={"int": [9, 8]}), "space.train.batch_size.int=[9, 8]: the range is empty"),
    (train(batch_size={"int": [1]}), "space.train.batch_size.int=[1]: must be two whole numbers"),
    (train(batch_size={"int": [1, 2, 3]}), "space.train.batch_size.int=[1, 2, 3]: must be two"),
    (train(batch_size={"int": [1.0, 2]}), "space.train.batch_size.int=[1.0, 2]: must be two whole"),
    (train(batch_size={"int": [True, 2]}), "space.train.batch_size.int=[true, 2]: must be two"),
    (train(batch_size={"int": [1, 10**400]}), "space.train.batch_size.int=[1, 1000"),
    (train(label_smoothing={"float": [0, 0.5], "step": 1e-300}),
     "space.train.label_smoothing.step=1e-300: gives more than 9,007,199,254,740,992 values in 0"),
    (train(batch_size={"int": 5}), "space.train.batch_size.int=5: must be two whole numbers, [low"),
    (train(batch_size={"int": ["1", "2"]}), "space.train.batch_size.int=[\"1\", \"2\"]: must be"),
    (optimizer(learning_rate={"float": [float("nan"), 1]}),
     "space.train.optimizer.learning_rate.float=[NaN, 1]: must be two finite numbers"),
    (optimizer(learning_rate={"float": [0.1, float("inf")]}),
     "space.train.optimizer.learning_rate.float=[0.1, Infinity]: must be two finite numbers"),
    (optimizer(learning_rate={"float": [0, 1], "log": True}),
     "space.train.optimizer.learning_rate.float=[0, 1]: with log, low must be above 0"),
    (optimizer(learning_rate={"float": [0.1, 1], "log": "yes"}),
     "space.train.optimizer.learning_rate.log=yes: must be true or false"),
    (optimizer(learning_rate={"float": [0.1, 1], "step": 0}),
     "space.train.optimizer.learning_rate.step=0: must be one of the finite numbers above 0"),
    (optimizer(learning_rate={"float": [0.1, 1], "step": 1, "log": True}),
     "space.train.optimizer.learning_rate.step=1: must be one of the finite numbers above 1"),
    (train(batch_size={"int": [1, 8], "step": 0.5}),
     "space.train.batch_size.step=0.5: must be one of the whole numbers above 0"),
    (train(batch_size={"choice": []}), "space.train.batch_size.choice=[]: must be a list of at"),
    (train(batch_size={"choice": 8}), "space.train.batch_size.choice=8: must be a list of at"),
    (train(batch_size={"choice": [8, 9, 8]}),
     "space.train.batch_size.choice=[8, 9, 8]: 8 is listed twice"),
    (train(label_smoothing={"choice": [0.1, float("nan")]}),
     "space.train.label_smoothing.choice=[0.1, NaN]: must be finite numbers, text"),
    (train(label_smoothing={"fixed": float("inf")}),
     "space.train.label_smoothing.fixed=inf: must be finite numbers, text"),
    # counts
    (blocks(count={"choice": ["two"]}), "space.model.conv_blocks.count: choice two; must be whole"),
    (blocks(count={"int": [-1, 2]}), "space.model.conv_blocks.count: int -1 .. 2; must be whole"),
    (blocks(count={"float": [1, 2]}), "space.model.conv_blocks.count: float 1 .. 2; must be whole"),
    (blocks(count={"int": [1, 10**9]}), "space.model.conv_blocks.count: int 1 .. 1000000000; must"),
    (blocks(count={"choice": [True]}), "space.model.conv_blocks.count: choice true; must be whole"),
    # values that the config refuses
    (train(batch_size={"int": [0, 8]}), "space.train.batch_size: train.batch_size=0: must be at"),
    (train(batch_size={"float": [1, 8]}), "space.train.batch_size: train.batch_size=1.0: must be"),
    (train(label_smoothing={"float": [0.5, 1.0]}),
     "space.train.label_smoothing: train.label_smoothing=1.0: must be less than 1"),
    (optimizer(name={"choice": ["adam", "adm"]}),
     "space.train.optimizer.name: train.optimizer.name=adm: must be one of adam, adamw"),
    (blocks(each={"activation": {"choice": ["relu", "rellu"]}}),
     "space.model.conv_blocks.each.activation: model.conv_blocks.0.activation=rellu: must be one"),
    (blocks(each={"stochastic_depth": {"choice": [0.5]}}),
     "space.model.conv_blocks.each.stochastic_depth: model.conv_blocks.0.stochastic_depth=0"),
    # when
    (optimizer(momentum={"float": [0, 0.9], "when": {"train.optimizer.name": ["sgd"]}}),
     "space.train.optimizer.momentum.when.train.optimizer.name: is not searched; allowed: train."),
    (optimizer(name=NAMES, momentum={"float": [0, 0.9], "when": {"train.optimizer.name": ["sdg"]}}),
     "space.train.optimizer.momentum.when.train.optimizer.name=sdg: never holds; allowed: "
     "choice adam, sgd"),
    (optimizer(name=NAMES, momentum={"float": [0, 0.9], "when": {"train.optimizer.name": []}}),
     "space.train.optimizer.momentum.when.train.optimizer.name=[]: never holds; allowed:"),
    (optimizer(nesterov={"choice": [True, False]},
               momentum={"float": [0, 0.9], "when": {"train.optimizer.nesterov": [1]}}),
     "space.train.optimizer.momentum.when.train.optimizer.nesterov=1: never holds; allowed: "
     "choice true, false"),
    (optimizer(learning_rate={"float": [0.1, 1]},
               momentum={"float": [0, 0.9], "when": {"train.optimizer.learning_rate": [0.1]}}),
     "space.train.optimizer.momentum.when.train.optimizer.learning_rate: is a float; allowed:"),
    (optimizer(name=NAMES, momentum={"float": [0, 0.9], "when": "sgd"}),
     "space.train.optimizer.momentum.when=sgd: must map searched paths to lists of values"),
    (train(batch_size={**SIZES, "when": {"train.seed": [1]}},
           seed={"choice": [1, 2], "when": {"train.batch_size": [8]}}),
     "space: `when` is circular: "),
    (train(seed={"choice": [1, 2], "when": {"train.seed": [1]}}),
     "space: `when` is circular: train.seed -> train.seed"),
]  # fmt: skip


@pytest.mark.parametrize(("space", "line"), MISTAKES, ids=[line[:60] for _, line in MISTAKES])
def test_a_space_that_cannot_be_searched(space: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_space(config_with(space))
    said = str(raised.value)
    assert said.startswith(line)
    assert "\n" not in said


VARIANT_MISTAKES = [
    ({"a": {"data.limit": 5}}, "variants.a.data.limit: cannot be searched; allowed: model.*"),
    ({"a": {"train.threads": 5}}, "variants.a.train.threads: cannot be searched; allowed:"),
    ({"a": {"train.epoch": 5}}, "variants.a.train.epoch: unknown key; did you mean epochs?"),
    ({"a": {"train.seed": 0.5}}, "variants.a: train.seed=0.5: must be a whole number"),
    ({"a": {"model.conv_blocks.each.dropout": 0.5}},
     "variants.a.model.conv_blocks.each.dropout: model.conv_blocks has no each; allowed: count, a"),
    # what the space searches too
    ({"a": {}, "b": {"train.batch_size": 5}},
     "variants.b.train.batch_size: the space searches train.batch_size too; allowed: only one of"),
    ({"a": {"model.conv_blocks": [{}]}},
     "variants.a.model.conv_blocks: the space searches model.conv_blocks.count too; allowed:"),
    ({"a": {"model.conv_blocks.1.dropout": 0.5}},
     "variants.a.model.conv_blocks.1.dropout: the space searches model.conv_blocks.count, which"),
    ({"a": {"model.fc_layers.count": 0}},
     "variants.a.model.fc_layers.count: the space searches model.fc_layers.0.neurons, which"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("variants", "line"), VARIANT_MISTAKES, ids=[m[1] for m in VARIANT_MISTAKES]
)
def test_a_variant_that_cannot_be_used(variants: dict[str, Any], line: str) -> None:
    space = {
        "train": {"batch_size": SIZES},
        "model": {
            "conv_blocks": {"count": {"int": [1, 2]}, "each": {"channels": SIZES}},
            "fc_layers": {"0": {"neurons": SIZES}},
        },
    }
    with pytest.raises(ConfigError) as raised:
        read_space(config_with(space, variants=variants))
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("path", ["train.epochs", "train.steps"])
def test_hyperband_sets_the_epochs_itself(path: str) -> None:
    key = path.removeprefix("train.")
    with pytest.raises(
        ConfigError, match=rf"^space.{path}: tuner=hyperband sets the epochs itself; allo"
    ):
        read_space(config_with(train(**{key: {"int": [1, 4]}}), tuner="hyperband"))


def test_epochs_can_be_searched_otherwise() -> None:
    space, _ = read_space(config_with(train(epochs={"int": [1, 4]})))
    assert [leaf.path for leaf in space.leaves] == ["train.epochs"]


def test_a_value_that_is_fine_only_with_another_leaf_s_is_fine() -> None:
    # The base config skips convolutions, which a block without a shortcut refuses.
    each = {
        "residual": {"choice": ["add", "none"]},
        "stochastic_depth": {
            "fixed": 0.0, "when": {"model.conv_blocks.each.residual": ["none"]}
        },
    }  # fmt: skip
    base = {"residual": "add", "stochastic_depth": 0.2}
    config = config_with(blocks(each=each), model__conv_blocks=[base])
    space, _ = read_space(config)
    of_block = "model.conv_blocks.0"
    for residual, rate in (("add", 0.2), ("none", 0.0)):
        point = {f"{of_block}.residual": residual}
        point |= {f"{of_block}.stochastic_depth": 0.0} if residual == "none" else {}
        (made,) = apply_overrides(config.run, space.overrides(point)).model.conv_blocks
        assert (made.residual, made.stochastic_depth) == (residual, rate)


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("train.seed.deeper", 1, 'train.seed={"deeper": 1}: must be a whole number'),
        ("train.nosuch.deeper", 1, "train.nosuch="),
        (
            "model.conv_blocks.first.channels",
            1,
            "model.conv_blocks.first.channels: first is not a key",
        ),
        ("model.conv_blocks.0", 1, "model.conv_blocks.0=1: must be count, a whole number"),
        (
            "model.conv_blocks.count",
            -1,
            "model.conv_blocks.count=-1: must be count, a whole number",
        ),
        ("model.conv_blocks.count", 1.5, "model.conv_blocks.count=1.5: must be count, a whole"),
        ("model.conv_blocks.0.channels", 0, "model.conv_blocks.0.channels=0: must be at least 1"),
    ],
)
def test_an_override_that_does_not_fit(path: str, value: Any, line: str) -> None:
    with pytest.raises(ConfigError) as raised:
        apply_overrides(config_with().run, {path: value})
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)
