"""The space in Keras Tuner's terms and back: nothing is lost, nothing inactive comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, reject, settings
from hypothesis import strategies as st
from search_fakes import SMALL_DATA, config_with, prepared

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.config.schema import Config
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.files import canonical_json
from fmnist_sweep.model.plan import plan_cnn
from fmnist_sweep.space.domains import FloatRange, possible_values
from fmnist_sweep.space.overrides import apply_overrides, value_at
from fmnist_sweep.space.reading import read_space
from fmnist_sweep.space.space import VARIANT, Space
from fmnist_sweep.tuners.encoding import (
    all_points,
    decode,
    draw,
    sample_points,
    to_hyperparameters,
)
from fmnist_sweep.tuners.feasibility import feasibility

VALUES: dict[str, Any] = {
    "train.batch_size": [
        {"int": [1, 9]}, {"int": [4, 64], "step": 20}, {"int": [1, 64], "log": True},
        {"int": [1, 64], "log": True, "step": 4}, {"choice": [64, 8]}, {"fixed": 3},
    ],
    "train.optimizer.name": [{"choice": ["adam", "sgd", "rmsprop"]}, {"fixed": "sgd"}],
    "train.optimizer.learning_rate": [
        {"float": [1e-4, 1e-2], "log": True}, {"float": [1e-4, 1e-1], "log": True, "step": 10},
    ],
    "train.optimizer.clip_norm": [{"choice": [None, 1.0, 0.5]}],
    "train.optimizer.nesterov": [{"choice": [True, False]}, {"choice": [False]}],
    "train.label_smoothing": [{"float": [0, 0.5]}, {"float": [0, 0.5], "step": 0.1}],
    "train.early_stopping.patience": [{"choice": [None, 1, 5]}, {"fixed": None}],
    "train.schedule.name": [{"choice": ["constant", "cosine"]}],
    "train.schedule.warmup_epochs": [{"choice": [0, 1, 0.5]}],
    "model.head.dropout": [{"float": [0, 0.9]}],
    "model.head.weight_init": [
        {"choice": ["he_normal", {"name": "random_normal", "stddev": 0.1}, "zeros"]},
    ],
    "model.conv_defaults.pad": [{"choice": ["same", 0, 1, "valid"]}],
}  # fmt: skip
BLOCK_VALUES: dict[str, Any] = {
    "filter": [{"choice": [3, [3, 5], 9]}, {"int": [1, 9], "step": 2}],
    "pool": [{"choice": [1, 2, [1, 2]]}],
    "batch_norm": [{"choice": [True, False]}],
    "channels": [{"int": [1, 16], "log": True}, {"choice": [4, 8]}],
}
COUNTS = [
    {"int": [0, 3]},
    {"choice": [2, 0]},
    {"fixed": 1},
    {"int": [1, 4], "log": True, "step": 2},
]


@st.composite
def spaces(draw_from: st.DrawFn) -> Config:
    """Spaces of any forms, with conditions between any of their leaves."""
    paths = draw_from(
        st.lists(st.sampled_from(sorted(VALUES)), unique=True, min_size=1, max_size=6)
    )
    leaves = {path: dict(draw_from(st.sampled_from(VALUES[path]))) for path in paths}
    for index, path in enumerate(paths):  # a parent stands before its children: no circles
        parents = [p for p in paths[:index] if "float" not in leaves[p]]
        for parent in (
            draw_from(st.lists(st.sampled_from(parents), unique=True, max_size=2))
            if (parents)
            else []
        ):
            values = _values_of(leaves[parent])
            some = draw_from(
                st.lists(st.sampled_from(values), min_size=1, max_size=2, unique_by=str)
            )
            leaves[path].setdefault("when", {})[parent] = some
    space: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *sections, last = path.split(".")
        node = space
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = leaf
    if draw_from(st.booleans()):
        block_keys = draw_from(st.lists(st.sampled_from(sorted(BLOCK_VALUES)), unique=True))
        each = {key: draw_from(st.sampled_from(BLOCK_VALUES[key])) for key in block_keys}
        blocks: dict[str, Any] = {"each": each}
        if draw_from(st.booleans()):
            blocks["count"] = draw_from(st.sampled_from(COUNTS))
        space.setdefault("model", {})["conv_blocks"] = blocks
    variants = {"plain": {}, "odd": {"train.seed": 9, "model.head.batch_norm": False}}
    with_variants = draw_from(st.booleans())
    return config_with(space, variants=variants if with_variants else None)


def _values_of(leaf: dict[str, Any]) -> list[Any]:
    if "choice" in leaf:
        return list(leaf["choice"])
    return [leaf["fixed"]] if "fixed" in leaf else [leaf["int"][0]]


def space_of(config: Config) -> Space:
    try:
        return read_space(config)[0]
    except ConfigError:  # a value that is refused whatever the others are
        event("refused")
        reject()


def check_point(config: Config, space: Space, point: dict[str, Any], reason: str | None) -> None:
    domains = {leaf.path: leaf.domain for leaf in space.leaves}
    for leaf in space.leaves:
        assert (leaf.path in point) == leaf.exists_at(point)
    for path, value in point.items():
        domain = domains[path]
        values = possible_values(domain, 10_000)
        if values is None:
            assert isinstance(domain, FloatRange)
            assert domain.low <= value <= domain.high
            assert value == float(f"{value:.6g}") or value in (domain.low, domain.high)
        else:
            assert canonical_json(value) in map(canonical_json, values)
    assert json.loads(json.dumps(point)) == point
    if reason is not None:
        assert reason
        assert "\n" not in reason
        return
    made = apply_overrides(config.run, space.overrides(point))
    plan_cnn(made.model, prepared().dataset.image_shape, 10)
    for path, value in space.overrides(point).items():
        if path == VARIANT or path.endswith("weight_init"):
            continue
        found, there = value_at(made, path)
        if not found:  # a key of a block that the count leaves out
            assert "conv_blocks" in path
        else:
            assert there == value


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(spaces(), st.integers(0, 2**32 - 1))
def test_any_sampled_point_of_any_space_validates_or_is_infeasible_with_a_reason(
    config: Config, seed: int
) -> None:
    space = space_of(config)
    why = feasibility(config, space, prepared(), on_paper=True)
    for point in sample_points(space, 8, seed):
        check_point(config, space, point, why(point))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(spaces())
def test_the_list_of_all_points_is_what_draws_come_from(config: Config) -> None:
    space = space_of(config)
    hyperparameters = to_hyperparameters(space)
    listed = all_points(space, hyperparameters, 3000)
    if listed is None:
        return
    points = [canonical_json(decode(space, values)) for values in listed]
    assert len(set(points)) == len(points)
    random = np.random.RandomState(0)
    for _ in range(20):
        assert draw(hyperparameters, random) in listed
    for values in listed[:50]:
        check_point(config, space, decode(space, values), "not asked")


def shipped_sweeps() -> list[str]:
    folder = Path(__file__).parents[2] / "conf" / "sweep"
    return sorted(path.stem for path in folder.rglob("*.yaml"))


@pytest.mark.parametrize("name", shipped_sweeps())
def test_any_sampled_point_of_each_shipped_space_validates_or_is_infeasible(name: str) -> None:
    overrides = [o for o in SMALL_DATA if not o.startswith("model=")]
    config = compose_config([f"+sweep={name}", "split=balanced", *overrides, "data.limit=null"])
    space, _ = read_space(config)
    why = feasibility(config, space, prepared(), on_paper=True)
    points = sample_points(space, 100, seed=3)
    reasons = [why(point) for point in points]
    for point, reason in zip(points, reasons, strict=True):
        check_point(config, space, point, reason)
    assert None in reasons


def test_all_of_blocks_augmentation_and_training_can_be_searched() -> None:
    is_residual = {"when": {"model.conv_blocks.each.residual": ["add"]}}
    config = config_with(
        {
            "model": {
                "width": {"float": [0.5, 2.0]},
                "head": {"pool": {"choice": ["average", "max", "flatten"]}},
                "conv_blocks": {
                    "count": {"int": [1, 3]},
                    "each": {
                        "convs": {"int": [1, 3]},
                        "separable": {"choice": [False, True]},
                        "residual": {"choice": ["none", "add"]},
                        "residual_activation": {"choice": ["post", "pre"], **is_residual},
                        "stochastic_depth": {"float": [0.0, 0.5], **is_residual},
                        "squeeze_excite": {"choice": [0.0, 0.25]},
                        "repeat": {"int": [1, 2]},
                        "pad": {"choice": ["same", "valid"]},
                        "stride": {"int": [1, 2]},
                    },
                },
            },
            "train": {
                "class_weights": {"choice": [None, "balanced"]},
                "ema": {"choice": [None, 0.9, 0.999]},
                "test_flip": {"choice": [False, True]},
                "optimizer": {"decays": {"choice": ["all", "kernels"]}},
                "schedule": {
                    "name": {"choice": ["constant", "cosine", "linear", "one_cycle", "step"]},
                    "warmup_epochs": {"float": [0.0, 2.0]},
                },
                "augment": {
                    "flip": {"choice": ["none", "random", "alternating"]},
                    "shift": {"int": [0, 4]},
                    "rotation": {"float": [0.0, 30.0]},
                    "zoom": {"float": [0.0, 0.3]},
                    "erase": {"float": [0.0, 1.0]},
                    "mixup": {"choice": [0.0, 0.2]},
                    "cutmix": {"choice": [0.0, 1.0]},
                },
            },
        }
    )
    space, _ = read_space(config)
    why = feasibility(config, space, prepared(), on_paper=True)
    points = sample_points(space, 200, seed=3)
    reasons = [why(point) for point in points]
    for point, reason in zip(points, reasons, strict=True):
        check_point(config, space, point, reason)
    assert None in reasons
    assert any("residual=add cannot add" in (reason or "") for reason in reasons)


def test_samples_reach_each_value_of_a_range_its_ends_included() -> None:
    config = config_with(
        {
            "train": {
                "label_smoothing": {"float": [0, 0.5], "step": 0.1},
                "batch_size": {"int": [1, 4], "log": True},
                "seed": {"int": [2, 9], "step": 3},
            }
        }
    )
    points = sample_points(read_space(config)[0], 300, seed=0)
    assert {p["train.label_smoothing"] for p in points} == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
    assert {p["train.batch_size"] for p in points} == {1, 2, 3, 4}
    assert {p["train.seed"] for p in points} == {2, 5, 8}


def test_ranges_that_multiply_are_counted_before_they_are_listed() -> None:
    # 10,000 values each, which is as many points as are listed, and 10 ** 12 together.
    config = config_with(
        {
            "train": {
                "seed": {"int": [1, 10_000]},
                "batch_size": {"int": [1, 10_000]},
                "label_smoothing": {"float": [0.0, 0.9999], "step": 1e-4},
            }
        }
    )
    space = read_space(config)[0]
    assert all_points(space, to_hyperparameters(space), 10_000) is None
    assert len(sample_points(space, 3, seed=0)) == 3


def test_samples_are_the_seed_s() -> None:
    space = read_space(config_with({"train": {"label_smoothing": {"float": [0, 0.5]}}}))[0]
    assert sample_points(space, 5, seed=1) == sample_points(space, 5, seed=1)
    assert sample_points(space, 5, seed=1) != sample_points(space, 5, seed=2)


def test_a_custom_builder_s_points_are_still_held_to_the_config() -> None:
    config = config_with({"train": {"epochs": {"choice": [2, 5]}}}, sweep__max_parameters=1)
    space, _ = read_space(config)
    why = feasibility(config, space, prepared(), on_paper=False)
    assert "train.epochs" in (why({"train.epochs": 0}) or "")
    assert why({"train.epochs": 5}) is None


@pytest.mark.parametrize(
    ("bound", "reason"),
    [
        ({"sweep__max_parameters": 20_000}, "parameters; sweep.max_parameters=20000"),
        ({"sweep__max_mflops": 1.0}, "MFLOP an image; sweep.max_mflops=1"),
    ],
)
def test_a_network_over_a_bound_is_infeasible(bound: dict[str, Any], reason: str) -> None:
    config = config_with(
        {"model": {"conv_blocks": {"each": {"channels": {"int": [1, 512]}}}}}, **bound
    )
    space, _ = read_space(config)
    why = feasibility(config, space, prepared(), on_paper=True)
    one, many = ({leaf.path: n for leaf in space.leaves} for n in (1, 512))
    assert why(one) is None
    assert reason in (why(many) or "")
