from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_strategies import image_shapes, models
from shipped import FASHION_MNIST, shipped_model

from fmnist_sweep.config.model_schema import ModelConfig
from fmnist_sweep.errors import InfeasibleModel
from fmnist_sweep.model.layers import LayerKind
from fmnist_sweep.model.plan import NetPlan, plan_cnn


def plan_blocks(*blocks: dict[str, Any], image: tuple[int, int, int] = FASHION_MNIST) -> NetPlan:
    return plan_cnn(shipped_model(conv_blocks=list(blocks)), image, classes=10)


def test_shipped_network_has_the_articles_parameter_count() -> None:
    plan = plan_cnn(shipped_model(), FASHION_MNIST, classes=10)

    assert plan.parameters == 3_467_402
    assert plan.trainable_parameters == 3_452_874
    assert plan.depth == 6


def test_a_multiply_and_an_add_count_as_two_operations() -> None:
    model = shipped_model(conv_blocks=[{"channels": 5, "filter": [3, 2], "pad": 0}], fc_layers=[])

    plan = plan_cnn(model, (7, 6, 2), classes=4)

    by_hand = 2 * (5 * 5) * (3 * 2 * 2 * 5) + 2 * (5 * 5 * 5) * 4
    assert plan.mflops == pytest.approx(by_hand / 1e6)


def test_no_blocks_and_no_layers_leave_a_linear_classifier() -> None:
    plan = plan_cnn(shipped_model(conv_blocks=[], fc_layers=[]), FASHION_MNIST, classes=10)

    assert [layer.name for layer in plan.layers] == [
        "flatten",
        "head_bn",
        "head_drop",
        "head",
        "head_act",
    ]
    assert plan.parameters == 4 * 784 + 784 * 10 + 10
    assert plan.depth == 1


@pytest.mark.slow
@given(model=models, image=image_shapes, classes=st.integers(2, 5))
@settings(max_examples=200, deadline=None)
def test_every_network_that_plans_ends_in_one_probability_a_class(
    model: ModelConfig, image: tuple[int, int, int], classes: int
) -> None:
    refusal = None
    try:
        plan = plan_cnn(model, image, classes)
    except InfeasibleModel as error:
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal
        assert f"({image[0]}x{image[1]}" in refusal
        return

    names = [layer.name for layer in plan.layers]
    assert len(set(names)) == len(names)
    assert all(size >= 1 for layer in plan.layers for size in layer.output_shape)
    assert plan.layers[-1].kind is LayerKind.SOFTMAX
    assert plan.layers[-1].output_shape == (classes,)
    convolutions = sum(block.convs * block.repeat for block in model.conv_blocks)
    assert plan.depth == convolutions + len(model.fc_layers) + 1


def test_a_residual_that_cannot_be_projected_is_refused() -> None:
    with pytest.raises(InfeasibleModel) as refusal:
        plan_blocks({"pool": 2}, {"residual": "add", "pad": "valid", "channels": 8})

    assert str(refusal.value) == (
        "conv block 1: residual=add cannot add 12x12 to 14x14 with stride 1x1, 14x14 "
        "(28x28 -> 30x30 -> 28x28 -> 14x14 -> 12x12); allowed: pad=same"
    )


def test_pool_below_a_pixel_names_the_block_and_the_sizes_on_the_way() -> None:
    halving = {"pool": 2, "pad": "same"}

    with pytest.raises(InfeasibleModel) as refusal:
        plan_blocks(*[halving] * 6)

    assert str(refusal.value) == (
        "conv block 4: pool 2x2 would shrink 1x1 below one pixel "
        "(28x28 -> 14x14 -> 7x7 -> 3x3 -> 1x1); allowed here: at most 1x1"
    )


def test_filter_larger_than_its_padded_image_is_refused() -> None:
    with pytest.raises(InfeasibleModel) as refusal:
        plan_blocks({"pool": 4, "pad": "same"}, {"filter": [3, 10], "pad": 1})

    assert str(refusal.value) == (
        "conv block 1: filter 3x10 is larger than its padded image 9x9 "
        "(28x28 -> 7x7 -> 9x9); allowed here: at most 9x9"
    )


@pytest.mark.parametrize(
    ("block", "image"),
    [
        ({"filter": 3, "pad": 1, "pool": 1}, (1, 1, 1)),
        ({"filter": 5, "pad": "same", "pool": 1}, (3, 3, 1)),
        ({"filter": 3, "pad": "valid", "pool": 1}, (3, 3, 1)),
        ({"filter": 1, "pad": 0, "pool": 2}, (2, 2, 1)),
        ({"filter": 1, "pad": 0, "pool": 3, "pool_pad": "same"}, (1, 1, 1)),
    ],
)
def test_what_just_fits_is_planned(block: dict[str, Any], image: tuple[int, int, int]) -> None:
    first = next(layer for layer in plan_blocks(block, image=image).layers if layer.parameters)

    assert first.kind is LayerKind.CONV


@pytest.mark.parametrize("module", ["plan", "article"])
def test_describing_a_network_needs_no_keras(module: str) -> None:
    code = (
        f"import sys, fmnist_sweep.model.{module}\n"
        "sys.exit(any(name in sys.modules for name in ('keras', 'tensorflow')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
