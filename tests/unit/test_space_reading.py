"""From YAML, through the real composition, to a space: each form of leaf, `when` and block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fmnist_sweep.config.compose import compose
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.space.domains import Choice, Fixed, FloatRange, IntRange, possible_values
from fmnist_sweep.space.overrides import apply_overrides, value_at
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.space.space import Condition, Leaf, Space


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(yaml: str, *overrides: str) -> tuple[Space, list[str], RunConfig]:
    """Read a user's sweep file, with those overrides on the command line."""
    Path("experiments/sweep").mkdir(parents=True, exist_ok=True)
    Path("experiments/sweep/mine.yaml").write_text(yaml)
    config, composition = compose(["+sweep=mine", *overrides])
    space, pinned = read_space(config, composition.overridden_keys)
    return space, pinned, config.run


def leaves(yaml: str, *overrides: str) -> dict[str, Leaf]:
    return {leaf.path: leaf for leaf in read(yaml, *overrides)[0].leaves}


@pytest.mark.parametrize(
    ("path", "leaf", "domain"),
    [
        ("train.batch_size", "{int: [32, 64]}", IntRange(32, 64, None, False)),
        ("train.batch_size", "{int: [32, 64], step: 16}", IntRange(32, 64, 16, False)),
        ("train.batch_size", "{int: [1, 64], log: true}", IntRange(1, 64, None, True)),
        ("train.batch_size", "{int: [1, 64], log: true, step: 4}", IntRange(1, 64, 4, True)),
        ("train.label_smoothing", "{float: [0, 0.5]}", FloatRange(0.0, 0.5, None, False)),
        ("train.label_smoothing", "{float: [0, 0.5], step: 0.1}", FloatRange(0.0, 0.5, 0.1, False)),
        ("train.optimizer.learning_rate", "{float: [1e-4, 1e-2], log: true}",
         FloatRange(1e-4, 1e-2, None, True)),
        ("train.optimizer.learning_rate", "{float: [1e-4, 1e-2], log: true, step: 10}",
         FloatRange(1e-4, 1e-2, 10.0, True)),
        ("train.optimizer.nesterov", "{choice: [true, false]}", Choice((True, False))),
        ("train.optimizer.clip_norm", "{choice: [null, 1.0]}", Choice((None, 1.0))),
        ("model.conv_defaults.filter", "{choice: [3, [3, 5]]}", Choice((3, [3, 5]))),
        ("model.conv_defaults.pad", "{choice: [same, 1, valid]}", Choice(("same", 1, "valid"))),
        ("model.head.weight_init", "{choice: [he_normal, {name: random_normal, stddev: 0.1}]}",
         Choice(("he_normal", {"name": "random_normal", "stddev": 0.1}))),
        ("train.seed", "{fixed: 7}", Fixed(7)),
        ("train.early_stopping.patience", "{fixed: null}", Fixed(None)),
    ],
)  # fmt: skip
def test_a_leaf_of_each_form(path: str, leaf: str, domain: object) -> None:
    assert leaves(f"space: {{{nested(path, leaf)}}}") == {path: Leaf(path, domain, (), path)}


def nested(path: str, inner: str) -> str:
    *sections, last = path.split(".")
    text = f"{last}: {inner}"
    for section in reversed(sections):
        text = f"{section}: {{{text}}}"
    return text


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (IntRange(3, 9, None, False), [3, 4, 5, 6, 7, 8, 9]),
        (IntRange(3, 9, 4, False), [3, 7]),
        (IntRange(2, 9, None, True), [2, 3, 4, 5, 6, 7, 8, 9]),
        (IntRange(2, 17, 2, True), [2, 4, 8, 16]),
        (FloatRange(0.0, 0.5, 0.1, False), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (FloatRange(0.0, 1.0, 0.2, False), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (FloatRange(0.1, 0.75, 0.2, False), [0.1, 0.3, 0.5, 0.7]),
        (FloatRange(1e-4, 1e-1, 10.0, True), [0.0001, 0.001, 0.01, 0.1]),
        (FloatRange(0.5, 0.5, None, False), [0.5]),
    ],
)
def test_the_values_of_a_range_are_those_that_one_writes(
    domain: IntRange | FloatRange, values: list[float]
) -> None:
    assert possible_values(domain, most=len(values)) == tuple(values)
    assert domain.count == len(values)
    assert possible_values(domain, most=len(values) - 1) is None


def test_a_range_of_any_number_of_values_is_read_at_once() -> None:
    space, _, _ = read(
        "space: {train: {batch_size: {int: [1, 1000000000000000000000000000000]},"
        "label_smoothing: {float: [0.0, 0.5], step: 1e-12},"
        "optimizer: {name: {choice: [adam, sgd], when: {train.batch_size: [64]}}}}}"
    )
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    assert domains["train.batch_size"] == IntRange(1, 10**30, None, False)
    assert domains["train.label_smoothing"] == FloatRange(0.0, 0.5, 1e-12, False)
    assert domains["train.label_smoothing"].count == 500_000_000_001


def test_numbers_with_the_same_six_digits_are_one_value() -> None:
    fine = FloatRange(0.1, 0.5, 1e-12, False)
    after = fine.index_after(0)
    assert after is not None
    assert fine.value(after) == 0.100001
    assert fine.value(after - 1) == fine.value(0) == 0.1
    assert fine.index_after((fine.count or 0) - 1) is None
    coarse = FloatRange(0.0, 0.2, 0.1, False)
    assert [coarse.index_after(index) for index in range(3)] == [1, 2, None]


@pytest.mark.parametrize(
    ("domain", "there", "absent"),
    [
        (IntRange(3, 9, None, False), (3, 9), (2, 10, 3.0, True, "3")),
        (IntRange(3, 9, 4, False), (3, 7), (5, 9)),
        (IntRange(2, 17, 2, True), (2, 16), (3, 17)),
        (Fixed(None), (None,), (0,)),
    ],
)
def test_a_value_is_found_by_its_index(
    domain: IntRange | Fixed, there: tuple[Any, ...], absent: tuple[Any, ...]
) -> None:
    values = possible_values(domain, 100) or ()
    for value in there:
        assert values.index(value) == domain.index_of(value)
    for value in absent:
        assert domain.index_of(value) is None


MOMENTUM = """
space:
  train:
    optimizer:
      momentum: {float: [0.0, 0.9], when: {train.optimizer.name: [sgd, rmsprop], variant: [plain]}}
      name: {choice: [adam, sgd, rmsprop]}
variants:
  plain: {}
  smoothed: {train.label_smoothing: 0.1}
  nested: {model: {head: {dropout: 0.4}}}
"""


def test_when_with_several_parents_the_variant_among_them() -> None:
    space, _, _ = read(MOMENTUM)
    assert [leaf.path for leaf in space.leaves] == [
        "variant", "train.optimizer.name", "train.optimizer.momentum",
    ]  # fmt: skip
    momentum = space.leaves[2]
    assert momentum.conditions == (
        Condition("train.optimizer.name", ("sgd", "rmsprop")),
        Condition("variant", ("plain",)),
    )
    exists = {
        (name, variant): momentum.exists_at({"train.optimizer.name": name, "variant": variant})
        for name in ("adam", "sgd", "rmsprop")
        for variant in ("plain", "nested")
    }
    assert {key for key, value in exists.items() if value} == {
        ("sgd", "plain"),
        ("rmsprop", "plain"),
    }


def test_a_variant_is_told_by_name_and_applied_in_full() -> None:
    space, _, base = read(MOMENTUM)
    assert space.overrides({"variant": "nested"}) == {
        "variant": "nested",
        "model.head.dropout": 0.4,
    }
    assert apply_overrides(base, space.overrides({"variant": "nested"})).model.head.dropout == 0.4
    assert apply_overrides(base, space.overrides({"variant": "plain"})) == base


BLOCKS = """
defaults: [override /model: small_cnn]
space:
  model:
    conv_blocks:
      count: %s
      each:
        channels: {choice: [8, 16]}
        pool_type: {choice: [max, average], when: {model.conv_blocks.each.channels: [16]}}
      1:
        channels: {choice: [16, 32]}
        dropout: {float: [0.0, 0.5]}
"""


@pytest.mark.parametrize(
    ("count", "numbers"),
    [
        ("{int: [1, 3]}", (1, 2, 3)),
        ("{int: [1, 4], step: 3}", (1, 4)),
        ("{int: [1, 4], log: true, step: 2}", (1, 2, 4)),
        ("{choice: [3, 0, 2]}", (3, 0, 2)),
        ("{fixed: 2}", (2,)),
    ],
)
def test_blocks_exist_where_the_count_is_above_their_number(
    count: str, numbers: tuple[int, ...]
) -> None:
    found = leaves(BLOCKS % count)
    for number in range(max(numbers)):
        channels = found[f"model.conv_blocks.{number}.channels"]
        assert channels.domain == Choice((16, 32) if number == 1 else (8, 16))
        assert channels.written == f"model.conv_blocks.{'1' if number == 1 else 'each'}.channels"
        for n in numbers:
            assert channels.exists_at({"model.conv_blocks.count": n}) == (n > number)
        pool_type = found[f"model.conv_blocks.{number}.pool_type"]
        assert Condition(channels.path, (16,)) in pool_type.conditions
        assert (f"model.conv_blocks.{number}.dropout" in found) == (number == 1)
    assert f"model.conv_blocks.{max(numbers)}.channels" not in found


def test_without_a_count_the_blocks_are_the_base_config_s() -> None:
    found = leaves(
        """
        defaults: [override /model: small_cnn]
        space:
          model:
            fc_layers: {each: {neurons: {int: [32, 64]}}}
            conv_blocks: {2: {dropout: {choice: [0.0, 0.5]}}}
        """
    )
    assert {path: leaf.conditions for path, leaf in found.items()} == {
        "model.fc_layers.0.neurons": (),
        "model.conv_blocks.2.dropout": (),
    }


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_a_count_cuts_the_blocks_or_fills_them_up_with_defaults(count: int) -> None:
    _, _, base = read(BLOCKS % "{int: [0, 5]}")
    made = apply_overrides(base, {"model.conv_blocks.count": count}).model
    there = base.model.conv_blocks
    assert made.conv_blocks == [*there, *[made.conv_defaults] * 2][:count]


def test_an_override_of_the_defaults_reaches_the_blocks() -> None:
    _, _, base = read(BLOCKS % "{int: [0, 5]}")
    made = apply_overrides(
        base, {"model.conv_defaults.dropout": 0.3, "model.conv_blocks.1.dropout": 0.1}
    )
    assert [block.dropout for block in made.model.conv_blocks] == [0.3, 0.1, 0.3]


def test_part_of_an_initialiser_that_is_written_as_a_name_can_be_searched() -> None:
    found = leaves("space: {model: {head: {weight_init: {name: {choice: [zeros, he_normal]}}}}}")
    assert found["model.head.weight_init.name"].domain == Choice(("zeros", "he_normal"))


@pytest.mark.parametrize(
    ("override", "path", "domain"),
    [
        ("space.train.batch_size.choice=[64]", "train.batch_size", Choice((64,))),
        ("~space.train.batch_size", "train.batch_size", None),
        ("+space.train.seed={choice: [1, 2]}", "train.seed", Choice((1, 2))),
        ("space.model.conv_blocks.count.int=[2,2]", "model.conv_blocks.2.channels", None),
        ("~space.model", "model.conv_blocks.0.channels", None),
        ("~variants.odd", "variant", Choice(("plain",))),
    ],
)
def test_the_command_line_narrows_a_space(override: str, path: str, domain: object) -> None:
    found = leaves(FULL, override)
    assert found.get(path, Leaf(path, None)).domain == domain  # type: ignore[arg-type]


FULL = """
defaults: [override /model: small_cnn]
space:
  train:
    batch_size: {choice: [64, 128]}
    optimizer:
      name: {choice: [adam, sgd]}
      momentum: {float: [0.0, 0.9], when: {train.optimizer.name: [sgd]}}
      nesterov: {choice: [true, false], when: {train.optimizer.name: [sgd]}}
  model:
    conv_blocks:
      count: {int: [1, 4]}
      each: {channels: {choice: [8, 16]}}
variants:
  plain: {}
  odd: {train.label_smoothing: 0.2, model.head.dropout: 0.1}
"""


def test_a_searched_value_on_the_command_line_is_no_longer_searched() -> None:
    space, pinned, base = read(FULL, "train.batch_size=32")
    leaf = {leaf.path: leaf for leaf in space.leaves}["train.batch_size"]
    assert pinned == ["train.batch_size"]
    assert leaf.domain == Fixed(32)
    assert apply_overrides(base, {leaf.path: 32}).train.batch_size == 32


def test_nothing_is_pinned_by_what_is_not_searched_nor_by_the_choice_of_a_file() -> None:
    space, pinned, _ = read(FULL, "train.seed=3", "model=fashion_mnist_cnn", "train.epochs=2")
    assert pinned == []
    assert space == read(FULL)[0]


@pytest.mark.parametrize(("name", "children"), [("adam", 0), ("rmsprop", 0), ("sgd", 2)])
def test_pinning_a_parent_leaves_the_children_that_it_allows(name: str, children: int) -> None:
    space, pinned, _ = read(FULL, f"train.optimizer.name={name}")
    paths = [leaf.path for leaf in space.leaves]
    assert pinned == ["train.optimizer.name"]
    assert (
        sum(p in paths for p in ("train.optimizer.momentum", "train.optimizer.nesterov"))
        == children
    )


def test_a_section_on_the_command_line_pins_all_that_is_in_it() -> None:
    space, pinned, _ = read(FULL, "train.optimizer={name: sgd, momentum: 0.5, nesterov: true}")
    assert set(pinned) == {f"train.optimizer.{key}" for key in ("name", "momentum", "nesterov")}
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    assert [domains[path] for path in pinned] == [Fixed("sgd"), Fixed(0.5), Fixed(True)]


def test_blocks_on_the_command_line_pin_their_number_and_their_keys() -> None:
    space, _, base = read(FULL, "model.conv_blocks=[{channels: 4}, {channels: 6}]")
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    assert domains["model.conv_blocks.count"] == Fixed(2)
    assert domains["model.conv_blocks.0.channels"] == Fixed(4)
    assert "model.conv_blocks.2.channels" not in domains
    assert len(base.model.conv_blocks) == 2


def test_blocks_beyond_a_searched_number_are_searched_too_where_more_are_pinned() -> None:
    six = "[{channels: 4}, {}, {}, {}, {}, {}]"
    space, _, _ = read(FULL.replace("each: {channels", "each: {dropout: {fixed: 0.1}, channels"),
                       f"model.conv_blocks={six}")  # fmt: skip
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    assert domains["model.conv_blocks.count"] == Fixed(6)
    assert all(f"model.conv_blocks.{number}.channels" in domains for number in range(6))


def test_a_key_of_one_block_on_the_command_line_pins_that_block_only() -> None:
    space, pinned, _ = read(FULL, "model.conv_blocks.1.channels=5")
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    assert pinned == ["model.conv_blocks.1.channels"]
    assert domains["model.conv_blocks.1.channels"] == Fixed(5)
    assert domains["model.conv_blocks.0.channels"] == Choice((8, 16))


def test_the_command_line_wins_over_a_variant() -> None:
    space, pinned, base = read(FULL, "train.label_smoothing=0.3")
    assert pinned == ["train.label_smoothing"]
    made = apply_overrides(base, space.overrides({"variant": "odd"}))
    assert (made.train.label_smoothing, made.model.head.dropout) == (0.3, 0.1)


def test_pinned_values_are_the_base_config_s_at_every_point() -> None:
    space, pinned, base = read(FULL, "train.optimizer.name=sgd", "model.conv_blocks.0.channels=3")
    point = {
        leaf.path: leaf.domain.value for leaf in space.leaves if isinstance(leaf.domain, Fixed)
    }
    made = apply_overrides(base, point)
    for path in pinned:
        assert value_at(made, path) == value_at(base, path)


def shipped_sweeps() -> list[str]:
    folder = Path(__file__).parents[2] / "conf" / "sweep"
    return sorted(path.stem for path in folder.rglob("*.yaml"))


def test_there_are_shipped_sweeps() -> None:
    assert "smoke" in shipped_sweeps()


@pytest.mark.parametrize("name", shipped_sweeps())
def test_each_shipped_sweep_has_a_space_for_each_tuner(name: str) -> None:
    # The ablation's variants have budgets of their own, which Hyperband would set.
    tuners = ["random", "grid", "bayesian"] + ["hyperband"] * (name != "ablation")
    for tuner in tuners:
        config, _ = compose([f"+sweep={name}", f"tuner={tuner}"])
        space, pinned = read_space(config)
        assert space.leaves
        assert pinned == []


def test_the_same_text_gives_the_same_order_of_leaves(tmp_path: Path) -> None:
    first = [leaf.path for leaf in read(FULL)[0].leaves]
    assert [leaf.path for leaf in read(FULL)[0].leaves] == first
    assert len(set(first)) == len(first)


def test_a_space_is_left_as_it_was_written(tmp_path: Path) -> None:
    read(FULL)
    before: Any = OmegaConf.load("experiments/sweep/mine.yaml")
    config, _ = compose(["+sweep=mine"])
    read_space(config, ("train.batch_size",))
    assert config.space == OmegaConf.to_container(before.space)
    assert [path.name for path in Path().iterdir()] == ["experiments"]
