"""The model that the package ships, for tests."""

from __future__ import annotations

from typing import Any

from fmnist_sweep.config.model_schema import ModelConfig
from fmnist_sweep.config.shipped import shipped_config

FASHION_MNIST = (28, 28, 1)


def shipped_model(**changes: Any) -> ModelConfig:
    return ModelConfig.model_validate({**shipped_config("model", "fashion_mnist_cnn"), **changes})
