"""Hyperparameter sweeps of configurable CNNs: resumable, tracked and reproducible.

`__all__` is the public Python API. Names are imported on first use, so that importing the package
loads neither TensorFlow nor NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_sweep.config.compose import compose_config
    from fmnist_sweep.config.metrics import register_metric
    from fmnist_sweep.data import balanced_test_split, load_dataset
    from fmnist_sweep.data.npz_data import dataset_from_arrays
    from fmnist_sweep.model.builder import build_cnn
    from fmnist_sweep.model.wrapper import FashionMNISTCNN
    from fmnist_sweep.sweep.results import load_sweep
    from fmnist_sweep.sweep.run import run_sweep

__version__ = "0.1.0"

__all__ = [
    "FashionMNISTCNN",
    "__version__",
    "balanced_test_split",
    "build_cnn",
    "compose_config",
    "dataset_from_arrays",
    "load_dataset",
    "load_sweep",
    "register_metric",
    "run_sweep",
]

_HOME = {
    "FashionMNISTCNN": "fmnist_sweep.model.wrapper",
    "balanced_test_split": "fmnist_sweep.data",
    "build_cnn": "fmnist_sweep.model.builder",
    "compose_config": "fmnist_sweep.config.compose",
    "dataset_from_arrays": "fmnist_sweep.data.npz_data",
    "load_dataset": "fmnist_sweep.data",
    "load_sweep": "fmnist_sweep.sweep.results",
    "register_metric": "fmnist_sweep.config.metrics",
    "run_sweep": "fmnist_sweep.sweep.run",
}
_TRAINING = {"FashionMNISTCNN", "build_cnn", "load_sweep", "run_sweep"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _TRAINING:
        from fmnist_sweep.runtime import load_tensorflow

        load_tensorflow()  # without its log output, before our modules import it
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
