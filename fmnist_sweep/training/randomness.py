"""The randomness of a training: derived from (seed, epoch), without state between epochs.

Therefore epochs 4..9 after a checkpoint equal epochs 4..9 of an uninterrupted training.
TensorFlow's own stateful operations (`tf.random.*`) cannot be reset and are not covered; those that
draw through Keras are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras.src.random.seed_generator import global_seed_generator  # not in Keras's public API
from numpy.typing import NDArray

_ORDER_STREAM, _LAYER_STREAM, _AUGMENT_STREAM = 0, 1, 2


def epoch_order(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order in which an epoch (from 1) visits the training images: int64, (images,)."""
    return _generator(seed, epoch, _ORDER_STREAM).permutation(images).astype(np.int64)


def augmentation_draws(seed: int, epoch: int, part: int) -> np.random.RandomState:
    """Return the generator of one part of an epoch's augmentation; each part has its own, so that
    it draws the same whatever else is on. Epoch 0: what holds for all epochs."""
    return _generator(seed, epoch, _AUGMENT_STREAM, part)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and Keras inside the block, and restore the state of Python and NumPy."""
    with _states_given_back():
        keras.utils.set_random_seed(seed)
        yield


@contextmanager
def seeded_epoch(model: keras.Model, seed: int, epoch: int) -> Iterator[None]:
    """Set all sources of randomness inside the block to the state of an epoch's start.

    These are the model's random layers (dropout, augmentation), whose states are neither in a
    `.keras` file nor in a list of weights; Keras's global generator, used by layers without their
    own; and Python's and NumPy's generators, which are restored at the end.
    """
    with _states_given_back():
        _set_layer_states(model, seed, epoch)
        # Layers such as AugMix draw from these while they are traced, which happens in the
        # process's first epoch, whichever that is; so all epochs start with the same state.
        random.seed(seed)
        np.random.seed(seed)
        yield


def _set_layer_states(model: keras.Model, seed: int, epoch: int) -> None:
    # `variables` are `weights` plus the states of random layers.
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
    # The legacy generator: NumPy guarantees its streams, unlike those of `default_rng`.
    return np.random.RandomState(key)
