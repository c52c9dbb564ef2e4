"""Synthetic data, generated in memory for tests and demonstrations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.data_schema import SyntheticData
from fmnist_sweep.data.dataset import FASHION_MNIST_CLASSES, Dataset
from fmnist_sweep.data.garments import draw_garments

AT_A_TIME = 1024


def draw_dataset(config: SyntheticData) -> Dataset:
    """Generate `train_size` training and `test_size` official test images, in equal shares per
    class.

    (If a size is not a multiple of ten, the first classes get one more.) `noise` is the standard
    deviation of each pixel's noise, as a fraction of full brightness. The training images depend
    only on size and seed, not on the number of official test images.
    """
    images, labels = _draw(config, config.train_size, part=0)
    official = _draw(config, config.test_size, part=1) if config.test_size else (None, None)
    return Dataset(
        name="synthetic",
        source=f"generated in memory, seed {config.seed}",
        images=images,
        labels=labels,
        official_images=official[0],
        official_labels=official[1],
        class_names=FASHION_MNIST_CLASSES,
        synthetic=True,
    )


def _draw(
    config: SyntheticData, count: int, part: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # The legacy generator: NumPy guarantees that its stream never changes.
    random = np.random.RandomState([config.seed, part])
    labels = np.arange(count, dtype=np.int64) % len(FASHION_MNIST_CLASSES)
    random.shuffle(labels)
    images = np.empty((count, config.image_size, config.image_size, 1), np.uint8)
    for start in range(0, count, AT_A_TIME):
        some = slice(start, start + AT_A_TIME)
        images[some, :, :, 0] = _photograph(labels[some], config, random)
    return images, labels


def _photograph(
    labels: NDArray[np.int64], config: SyntheticData, random: np.random.RandomState
) -> NDArray[np.uint8]:
    drawn = draw_garments(labels, config.image_size, random)
    if config.noise:
        # The difference of two uniform variables has standard deviation 1/sqrt(6); a normal one
        # needs a logarithm, whose last bit differs between machines.
        noise = random.random_sample(drawn.shape) - random.random_sample(drawn.shape)
        drawn = drawn + np.float32(config.noise * 6**0.5) * noise.astype(np.float32)
    return np.rint(255 * np.clip(drawn, 0, 1)).astype(np.uint8)
