"""Where a training's randomness comes from: (seed, epoch) alone, never a generator that remembers.

That is what makes epochs 4..9 after a checkpoint equal to epochs 4..9 of a straight training.
TensorFlow's own stateful operations (`tf.random.*`) cannot be set back and are not covered; what
draws through Keras is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras.src.random.seed_generator import global_seed_generator  # Keras shows it nowhere else
from numpy.typing import NDArray

_ORDER_STREAM, _LAYER_STREAM = 0, 1


def epoch_order(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order in which an epoch (from 1) visits the training images: int64, (images,)."""
    return _generator(seed, epoch, _ORDER_STREAM).permutation(images).astype(np.int64)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and Keras inside the block, and give the first two their state back."""
    with _states_given_back():
        keras.utils.set_random_seed(seed)
        yield


@contextmanager
def seeded_epoch(model: keras.Model, seed: int, epoch: int) -> Iterator[None]:
    """Have whatever draws random numbers inside the block begin as the epoch is to begin.

    Those are the model's random layers (dropout, augmentation), whose states neither a `.keras`
    file nor a list of weights holds; Keras's global generator, from which a layer without one of
    its own draws; and Python's and NumPy's, which get their state back.
    """
    with _states_given_back():
        _set_layer_states(model, seed, epoch)
        # Layers such as AugMix draw from these while they are traced, and the epoch that is
        # traced is the process's first, whichever that is: so all epochs begin alike here.
        random.seed(seed)
        np.random.seed(seed)
        yield


def _set_layer_states(model: keras.Model, seed: int, epoch: int) -> None:
    # `variables` are `weights` and the states of random layers.
    weights = {id(variable) for variable in model.weights}
    states = [
        variable
        for variable in model.variables
        if id(variable) not in weights and variable.name == "seed_generator_state"
    ]
    for number, state in enumerate([global_seed_generator().state, *states]):
        generator = _generator(seed, epoch, _LAYER_STREAM, number)
        state.assign(generator.randint(0, 2**32, size=state.shape, dtype=np.uint32))


@contextmanager
def _states_given_back() -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _generator(*key: int) -> np.random.RandomState:
    # The legacy generator on purpose: NumPy froze its streams, `default_rng`'s may change.
    return np.random.RandomState(key)
