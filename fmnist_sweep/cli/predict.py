"""The side command `predict`: classifies pictures with a registered model."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import pandas as pd
from PIL import Image
from rich.table import Table
from rich.text import Text

from fmnist_sweep.cli.console import console
from fmnist_sweep.config.data_schema import Fit
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import fashion_mnist
from fmnist_sweep.data.picture import (
    MODES,
    Fitted,
    UnreadableError,
    fitted_by,
    read_picture,
    shown_path,
)
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.tracking.opening import open_registry
from fmnist_sweep.tracking.registered import (
    AUTO,
    FIT_TAG,
    WEIGHTS_TAG,
    Classifier,
    Version,
    model_name,
)
from fmnist_sweep.workspace import Workspace

if TYPE_CHECKING:
    from fmnist_sweep.tracking.mlflow.registry import MlflowRegistry

_SHOWN = 3
_MOST_AT_A_TIME, _MOST_BYTES = 100, 1 << 24  # pictures, and their total bytes


def predict(config: Config, *words: str) -> None:
    """Print predictions for pictures, with probabilities: by the champion, or by the winner of the
    sweep that the first word names.

    Pictures are read one by one and predicted in batches, so that memory use does not depend on
    their number. Unreadable ones are named on stderr; all others are predicted.

    Raises:
        ConfigError: there is no such model, its input is not images, or no picture can be read.
        RunError: some pictures cannot be read.
    """
    registry = open_registry(config.tracking, Workspace.here())
    version, paths = _model_and_paths(registry, config, words)
    classifier = registry.load(version)
    _check_channels(version, classifier.image_shape)
    out = console()
    of = ""
    if WEIGHTS_TAG in version.tags:  # models registered by other programs lack our tags
        accuracy = float(version.tags["test_accuracy"])
        of = f" (sweep {version.tags['sweep.name']}, test_accuracy {accuracy:.4f})"
    out.print(f"{version.name} version {version.number}{of}", soft_wrap=True)
    fit = _fit_of(version)
    at_a_time = min(_MOST_AT_A_TIME, max(1, _MOST_BYTES // math.prod(classifier.image_shape)))
    unreadable: list[ConfigError] = []
    for first in range(0, len(paths), at_a_time):
        inputs = {}
        for number, path in enumerate(paths[first : first + at_a_time], start=first):
            try:
                inputs[number] = fitted_by(fit, opened(path), classifier.image_shape)
            except ConfigError as error:
                unreadable.append(error)
                if len(paths) > 1:
                    sys.stderr.write(f"{error}\n")
        if inputs:
            shown = [shown_path(paths[number]) for number in inputs]
            out.print(_answers(classifier, shown, [*inputs.values()]))
    if len(unreadable) == len(paths):
        raise (
            unreadable[0]
            if len(paths) == 1
            else ConfigError(f"predict: none of {len(paths):,} pictures can be read")
        )
    if unreadable:
        raise RunError(f"predict: {len(unreadable):,} of {len(paths):,} pictures cannot be read")


def _answers(classifier: Classifier, names: list[str], inputs: list[Fitted]) -> Table:
    batch = np.stack([given.pixels for given in inputs])
    answers = pd.DataFrame(classifier.predict(batch[..., 0] if batch.shape[-1] == 1 else batch))
    table = Table()
    for heading in ("image", "class", "probability", "then", "preprocessing"):
        table.add_column(heading, overflow="fold")
    for name, given, (_, row) in zip(names, inputs, answers.iterrows(), strict=True):
        first, *others = row.sort_values(ascending=False, kind="stable").items()
        then = ", ".join(f"{other} {chance:.3f}" for other, chance in others[: _SHOWN - 1])
        cells = (name, str(first[0]), f"{first[1]:.3f}", then, given.how)
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    return table


def _fit_of(version: Version) -> Fit:
    """Return how pictures are fitted: as those were that the model was trained on."""
    tag = version.tags.get(FIT_TAG)
    return cast(Fit, tag) if tag in get_args(Fit) else "predict"


def _check_channels(version: Version, shape: tuple[int, int, int]) -> None:
    if shape[2] not in MODES:
        raise ConfigError(
            f"predict: {version.name} version {version.number} takes images of {shape[2]} "
            "channels; allowed: models of 1 (grey), 2 (grey and opacity), 3 (RGB) or 4 (RGB and "
            "opacity)"
        )


def opened(path: Path) -> Image.Image:
    """Read a picture as `read_picture` does.

    Raises:
        ConfigError: it is not a readable picture, or too large.
    """
    shown = f"predict: {shown_path(path)}"
    try:
        if not path.is_file():  # reading a pipe would block
            reason = "is not a file" if path.exists() else "no such file"
            raise ConfigError(f"{shown}: {reason}; allowed: [SWEEP] IMAGE...")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that Pillow can read nevertheless
            return read_picture(path)
    except UnreadableError as error:
        raise ConfigError(f"{shown}: {error}") from error
    except OSError as error:  # a name that is too long
        raise ConfigError(
            f"{shown}: cannot be read as a picture: {error.strerror or error}"
        ) from error


def _model_and_paths(
    registry: MlflowRegistry, config: Config, words: Sequence[str]
) -> tuple[Version, list[Path]]:
    """Return the model to use, and the pictures."""
    first = words[0]
    if len(words) > 1 and not ("/" in first or _stands(Path(first), Path.is_file)):
        version = registry.of_sweep(first)
        if version is not None:
            return version, [Path(word) for word in words[1:]]
        Image.init()  # loads all known extensions
        is_picture = Path(first).suffix.lower() in Image.EXTENSION
        if not (is_picture or _stands(Path(first), os.path.lexists)):
            raise ConfigError(
                f"predict: {shown_path(Path(first))}: neither a file nor a sweep whose winner is "
                "registered"
            )
    return _champion(registry, config), [Path(word) for word in words]


def _stands(path: Path, check: Callable[[Path], bool]) -> bool:
    try:
        return check(path)
    except OSError:  # longer than a file name can be
        return False


def _champion(registry: MlflowRegistry, config: Config) -> Version:
    name = model_name(config.tracking.registered_model or AUTO, fashion_mnist.NAME)
    champion = registry.champion(name)
    if champion is None:
        there = ", ".join(registry.names()) or "none"
        raise ConfigError(
            f"predict: registered model {name} has no champion; there are: {there}; a sweep "
            "registers its winner when it ends; tracking.registered_model=NAME chooses another"
        )
    return champion
