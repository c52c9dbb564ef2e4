"""Checks before the first epoch that a user's network can be trained here."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.config.messages import counted
from fmnist_sweep.config.schema import RunConfig
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.interrupts import interrupts_deferred, stop_if_asked
from fmnist_sweep.reasons import reason_of
from fmnist_sweep.training.batches import ImageSet, TrainingData
from fmnist_sweep.training.calculation import usual_calculation
from fmnist_sweep.training.checkpoint import weights_digest
from fmnist_sweep.training.graphs import graphs_freed
from fmnist_sweep.training.randomness import seeded, seeded_epoch
from fmnist_sweep.training.train import ModelBuilder, arrays_of, build_network

_IMAGES = 8
_ALLOWED = "allowed: a probability for each class, at least 0, with the sum 1"
_FILE = ".check.tmp.keras"
# Tolerances for a sum of probabilities, and for the outputs of the saved and loaded network.
_TOLERANCE = 1e-3
_TOLERANCE_IN_16_BITS = 5e-2  # bfloat16 has three significant digits


@interrupts_deferred()
@graphs_freed()
@usual_calculation()
def check_network(
    config: RunConfig, data: TrainingData, build_model: ModelBuilder, folder: Path
) -> bool:
    """Build a config's network, in addition to the one that is trained, and check its outputs for a
    few training images, before and after it is saved and loaded.

    This does not affect the training: the network is discarded, and the training seeds its own.
    `folder` contains the saved network meanwhile.

    Returns:
        Whether the builder has compiled the network.

    Raises:
        ConfigError: says what is wrong with the network and what is allowed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training shows them
        network = _built(config, data, build_model)
        was_compiled = bool(network.compiled)
        images = _first_images(data.train)
        answers = _answers(network, images, config.train.seed)
        _check_answers(network, answers, data.train.classes)
        _check_saved(network, images, answers, config.train.seed, folder)
    return was_compiled


def _refusal(what: str) -> ConfigError:
    return ConfigError(f"build_model: {what}")


def _built(config: RunConfig, data: TrainingData, build_model: ModelBuilder) -> keras.Model:
    try:
        network: Any = build_network(config, data, build_model)
    except (Exception, SystemExit) as error:
        stop_if_asked(error)
        raise _refusal(f"it raised {reason_of(error)}") from error
    if not isinstance(network, keras.Model):
        raise _refusal(f"it returned {type(network).__name__}; allowed: a keras.Model")
    for given in getattr(network, "inputs", None) or ():  # some have none until their first call
        if not keras.backend.is_float_dtype(given.dtype):
            raise _refusal(
                f"its network takes {given.dtype}; allowed: float32: pixels come as 0.0 to 1.0"
            )
    return network


def _first_images(images: ImageSet) -> NDArray[np.float32]:
    return images.at(np.arange(min(_IMAGES, len(images)))).astype(np.float32) * np.float32(
        1.0 / 255.0
    )


def _answers(network: keras.Model, images: NDArray[np.float32], seed: int) -> Any:
    """Return a network's outputs; layers that are random even in inference are seeded."""
    try:
        with seeded_epoch(network, seed, 1):
            return network(images, training=False)
    except (Exception, SystemExit) as error:
        stop_if_asked(error)
        shape = ", ".join(map(str, images.shape[1:]))
        raise _refusal(
            f"its network cannot be called with images of shape (n, {shape}): {reason_of(error)}"
        ) from error


def _check_answers(network: keras.Model, answers: Any, classes: int) -> None:
    if isinstance(answers, (dict, list, tuple)):
        raise _refusal(
            f"its network has {counted(len(answers), 'output')} in a {type(answers).__name__}; "
            f"allowed: one, of shape (n, {classes})"
        )
    dtype = keras.backend.standardize_dtype(answers.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise _refusal(f"its network returns {dtype}; {_ALLOWED}")
    shape = tuple(answers.shape)
    if len(shape) != 2 or shape[1] != classes:
        sizes = ", ".join(["n", *map(str, shape[1:])])
        raise _refusal(
            f"its network returns shape ({sizes}); allowed: (n, {classes}), a probability for "
            "each class"
        )
    chances = _numbers(answers)
    if not np.isfinite(chances).all():
        stray = chances[~np.isfinite(chances)][0]
        raise _refusal(f"its network returns {stray}; {_ALLOWED}")
    if chances.min() < 0:
        raise _refusal(
            f"its network returns {chances.min():.4g}; {_ALLOWED}: logits need a softmax"
        )
    sums = chances.sum(axis=1)
    furthest = sums[np.abs(sums - 1.0).argmax()]
    if abs(furthest - 1.0) > _tolerance(network):
        raise _refusal(
            f"the outputs of its network for an image sum to {furthest:.4g}; {_ALLOWED}, as from "
            "a softmax"
        )


def _check_saved(
    network: keras.Model,
    images: NDArray[np.float32],
    answers: Any,
    seed: int,
    folder: Path,
) -> None:
    path = folder / _FILE
    network.optimizer, network.compiled = None, False  # not to be saved
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            network.save(path)
        except OSError:  # a disk error
            raise
        except Exception as error:
            raise _refusal(f"its network cannot be saved: {reason_of(error)}") from error
        try:
            with seeded(seed):  # random layers take their seeds from Python's generator
                loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:
            raise _refusal(
                f"its network cannot be loaded after it was saved: {reason_of(error)}"
            ) from error
    finally:
        path.unlink(missing_ok=True)
    digests = [weights_digest(arrays_of(each.weights)) for each in (network, loaded)]
    if digests[0] != digests[1]:
        raise _refusal(
            "its network has other weights after it was saved and loaded; allowed: layers that "
            "create their weights in build() and list their arguments in get_config()"
        )
    again = _answers(loaded, images, seed)
    difference = float(np.abs(_numbers(again) - _numbers(answers)).max())
    if not difference <= _tolerance(network):
        raise _refusal(
            f"the outputs of its network differ by up to {difference:.4g} after it was saved "
            "and loaded; allowed: layers that list all of their arguments in get_config()"
        )


def _numbers(answers: Any) -> NDArray[np.float64]:
    return np.asarray(answers.numpy(), dtype=np.float64)


def _tolerance(network: keras.Model) -> float:
    dtypes = {layer.compute_dtype for layer in network._flatten_layers()}  # includes nested models
    return _TOLERANCE if dtypes <= {"float32", "float64"} else _TOLERANCE_IN_16_BITS
