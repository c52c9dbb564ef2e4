from __future__ import annotations

import inspect
import random
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_sweep.training.randomness import epoch_order, seeded, seeded_epoch

seeds = st.integers(0, 2**32 - 1)
epochs = st.integers(1, 1000)

# What Keras's layers of random images cannot do without.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "AlphaDropout": {"rate": 0.5},
    "Dropout": {"rate": 0.5},
    "GaussianDropout": {"rate": 0.5},
    "GaussianNoise": {"stddev": 0.5},
    "SpatialDropout2D": {"rate": 0.5},
    "AugMix": {"value_range": (0, 1)},
    "Solarization": {"addition_factor": 0.5, "threshold_factor": 0.5, "value_range": (0, 1)},
    "RandomBrightness": {"factor": 0.5, "value_range": (0, 1)},
    "RandomColorDegeneration": {"factor": 0.5, "value_range": (0, 1)},
    "RandomColorJitter": {"value_range": (0, 1), "brightness_factor": 0.5},
    "RandomContrast": {"factor": 0.9, "value_range": (0, 1)},
    "RandomCrop": {"height": 4, "width": 4},
    "RandomHue": {"factor": 0.5, "value_range": (0, 1)},
    "RandomPosterization": {"factor": 3, "value_range": (0, 1)},
    "RandomRotation": {"factor": 0.5},
    "RandomSaturation": {"factor": 0.9, "value_range": (0, 1)},
    "RandomSharpness": {"factor": 0.9, "value_range": (0, 1)},
    "RandomShear": {"x_factor": 0.5, "y_factor": 0.5},
    "RandomTranslation": {"height_factor": 0.5, "width_factor": 0.5},
    "RandomZoom": {"height_factor": 0.5},
}
# Not for images, or (the last two) not without labels.
OTHERS = {
    "Attention", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "GRUCell", "GroupQueryAttention",
    "JaxLayer", "LSTM", "LSTMCell", "MultiHeadAttention", "SimpleRNN", "SimpleRNNCell",
    "SpatialDropout1D", "SpatialDropout3D", "CutMix", "MixUp",
}  # fmt: skip


def random_layers() -> list[str]:
    return [
        name
        for name, kind in vars(keras.layers).items()
        if isinstance(kind, type)
        and issubclass(kind, keras.Layer)
        and "seed" in inspect.signature(kind).parameters
        and name not in OTHERS
    ]


IMAGES = np.random.RandomState(0).random_sample((6, 8, 8, 3)).astype(np.float32)


def drawn(model: keras.Model, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    with seeded_epoch(model, seed, epoch):
        return np.stack([np.asarray(model(IMAGES, training=True).numpy()) for _ in range(2)])


@pytest.mark.parametrize("name", random_layers())
def test_every_random_layer_of_keras_begins_an_epoch_where_it_is_to(name: str) -> None:
    image = keras.Input((8, 8, 3))
    layer = getattr(keras.layers, name)(**ARGUMENTS.get(name, {}))
    model = keras.Model(image, layer(image))

    epoch = drawn(model, seed=1, epoch=3)

    assert np.array_equal(drawn(model, seed=1, epoch=3), epoch)
    others = (drawn(model, seed, number) for seed, number in ((1, 4), (2, 3), (1, 5), (3, 3)))
    assert any(not np.array_equal(other, epoch) for other in others)


def test_the_list_of_random_layers_is_not_empty() -> None:
    assert {"Dropout", "RandomFlip", "RandAugment", "AugMix"} <= set(random_layers())


def test_layers_of_a_kind_draw_differently_and_other_epochs_too() -> None:
    image = keras.Input((8, 8, 3))
    pair = keras.Model(image, [keras.layers.Dropout(0.5)(image) for _ in range(2)])

    def masks(seed: int, epoch: int) -> list[bytes]:
        with seeded_epoch(pair, seed, epoch):
            return [(output.numpy() == 0).tobytes() for output in pair(IMAGES, training=True)]

    assert len({*masks(0, 1), *masks(0, 2), *masks(1, 1), *masks(1, 2)}) == 8


@given(seed=seeds, epoch=epochs, images=st.integers(1, 300))
def test_an_epochs_order_has_every_image_once(seed: int, epoch: int, images: int) -> None:
    order = epoch_order(seed, epoch, images)

    assert order.dtype == np.int64
    assert sorted(order) == list(range(images))
    assert np.array_equal(order, epoch_order(seed, epoch, images))


@given(st.sets(st.tuples(seeds, epochs), min_size=2, max_size=6))
def test_orders_differ_from_seed_to_seed_and_epoch_to_epoch(pairs: set[tuple[int, int]]) -> None:
    orders = {epoch_order(seed, epoch, 100).tobytes() for seed, epoch in pairs}

    assert len(orders) == len(pairs)


def test_an_epochs_order_is_the_same_for_good() -> None:
    assert epoch_order(seed=1, epoch=2, images=8).tolist() == [4, 7, 0, 1, 5, 3, 2, 6]


@given(seed=seeds, before=seeds)
@settings(max_examples=20, deadline=None)
def test_pythons_and_numpys_states_are_given_back(seed: int, before: int) -> None:
    model = keras.Sequential([keras.Input((1,))])
    random.seed(before)
    np.random.seed(before)
    python, numpy = random.getstate(), np.random.get_state(legacy=False)

    def fail() -> None:
        random.random()
        np.random.rand()
        raise ZeroDivisionError

    for block in (seeded(seed), seeded_epoch(model, seed, 1)):
        with pytest.raises(ZeroDivisionError), block:
            fail()

    assert random.getstate() == python
    after = np.random.get_state(legacy=False)
    np.testing.assert_equal(after, numpy)
