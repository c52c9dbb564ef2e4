"""Loads the dataset of a `data` config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist_sweep.config.data_schema import (
    CsvData,
    DataConfig,
    FashionMnistData,
    FolderData,
    NpzData,
    ParquetData,
    SyntheticData,
)
from fmnist_sweep.data.csv_data import load_csv
from fmnist_sweep.data.dataset import Dataset
from fmnist_sweep.data.fashion_mnist import load_configured
from fmnist_sweep.data.folder_data import load_folder
from fmnist_sweep.data.npz_data import load_npz
from fmnist_sweep.data.parquet_data import load_parquet
from fmnist_sweep.data.synthetic import draw_dataset
from fmnist_sweep.errors import ConfigError

_LOADERS: dict[type, Callable[[Any], Dataset]] = {
    FashionMnistData: load_configured,
    CsvData: load_csv,
    NpzData: load_npz,
    FolderData: load_folder,
    ParquetData: load_parquet,
    SyntheticData: draw_dataset,
}
"""What reads the data of each config; a new form of data has a line here."""


def load_dataset(config: DataConfig) -> Dataset:
    """Read and validate the images of a config, and shorten them if `config.limit` is set.

    Raises DataError if a file is missing, altered or malformed, ConfigError if the limit does not
    fit the data.
    """
    dataset = _LOADERS[type(config)](config)
    return dataset if config.limit is None else first_of_each_class(dataset, config.limit)


def first_of_each_class(dataset: Dataset, limit: int) -> Dataset:
    """Keep the first `limit // classes` training images of each class, in their order.

    The official test set is unchanged. Raises ConfigError if `limit` is not a multiple of the
    number of classes, or a class has too few images.
    """
    share, rest = divmod(limit, dataset.classes)
    if rest:
        raise ConfigError(
            f"data.limit={limit} is not divisible by the {dataset.classes} classes; "
            f"allowed: multiples of {dataset.classes}"
        )
    chosen = []
    for label, name in enumerate(dataset.class_names):
        members = np.flatnonzero(dataset.labels == label)
        if len(members) < share:
            raise ConfigError(
                f"data.limit={limit} takes {share} training images per class, "
                f"but class {name} has {len(members)}"
            )
        chosen.append(members[:share])
    kept = np.sort(np.concatenate(chosen))
    return replace(dataset, images=dataset.images[kept], labels=dataset.labels[kept])
