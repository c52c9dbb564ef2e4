"""Shipped networks have the numbers of parameters of their papers."""

from __future__ import annotations

import pytest

from fmnist_sweep.config.compose import compose_config
from fmnist_sweep.model.plan import plan_cnn

CIFAR = (32, 32, 3)


@pytest.mark.parametrize(
    ("name", "depth", "parameters"),
    [
        ("resnet20", 20, 272_474),
        ("resnet32", 32, 466_906),
        ("wrn_16_4", 14, 2_748_890),
        ("wrn_40_4", 38, 8_949_210),
        ("airbench", 8, 1_972_802),
    ],
)
def test_on_cifar(name: str, depth: int, parameters: int) -> None:
    plan = plan_cnn(compose_config([f"model={name}"]).model, CIFAR, classes=10)
    assert (plan.depth, plan.trainable_parameters) == (depth, parameters)


@pytest.mark.parametrize(("name", "parameters"), [("resnet20", 269_722), ("resnet32", 464_154)])
def test_without_projections_resnets_have_the_paper_s_option_a(name: str, parameters: int) -> None:
    plan = plan_cnn(compose_config([f"model={name}"]).model, CIFAR, classes=10)
    projections = sum(
        layer.trainable_parameters for layer in plan.layers if "_shortcut" in layer.name
    )
    assert plan.trainable_parameters - projections == parameters


@pytest.mark.parametrize(
    ("width", "parameters"), [(1.0, 4_231_976), (0.5, 1_331_592), (0.25, 470_072)]
)
def test_mobilenet_on_imagenet(width: float, parameters: int) -> None:
    config = compose_config(["model=mobilenet", f"model.width={width}"])
    plan = plan_cnn(config.model, (224, 224, 3), classes=1000)
    assert plan.trainable_parameters == parameters


@pytest.mark.parametrize("name", ["resnet20", "resnet32", "wrn_16_4", "mobilenet", "airbench"])
def test_each_can_be_trained_on_fashion_mnist(name: str) -> None:
    plan = plan_cnn(compose_config([f"model={name}"]).model, (28, 28, 1), classes=10)
    assert plan.layers[-1].output_shape == (10,)
