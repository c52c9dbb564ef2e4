"""Where a training's randomness comes from: (seed, epoch) alone, never a generator that remembers.

That is what makes epochs 4..9 after a checkpoint equal to epochs 4..9 of a straight training.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

_ORDER_STREAM, _LAYER_STREAM = 0, 1


def epoch_order(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order in which an epoch (from 1) visits the training images: int64, (images,)."""
    return _generator(seed, epoch, _ORDER_STREAM).permutation(images).astype(np.int64)


def reseed_layers(model: keras.Model, seed: int, epoch: int) -> None:
    """Set the state of every random layer (dropout, augmentation) as the epoch is to begin.

    A `.keras` file and a list of weights both leave those states out, so a continued training
    would otherwise draw other masks than a straight one.
    """
    # `weights` is `variables` less the states of random layers (and metrics, which fit resets).
    known = {id(variable) for variable in model.weights + model.metrics_variables}
    states = [v for v in model.variables if id(v) not in known and v.name == "seed_generator_state"]
    for number, state in enumerate(states):
        generator = _generator(seed, epoch, _LAYER_STREAM, number)
        state.assign(generator.randint(0, 2**32, size=state.shape, dtype=np.uint32))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and Keras inside the block, and give the first two their state back."""
    import keras

    python_state, numpy_state = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _generator(*key: int) -> np.random.RandomState:
    # The legacy generator on purpose: NumPy froze its streams, `default_rng`'s may change.
    return np.random.RandomState(key)
