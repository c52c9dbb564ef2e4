"""The side command `predict`: classifies pictures with a registered model."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.table import Table
from rich.text import Text

from fmnist_sweep.cli.console import console
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import fashion_mnist
from fmnist_sweep.errors import ConfigError, RunError
from fmnist_sweep.tracking.opening import open_registry
from fmnist_sweep.tracking.registered import AUTO, WEIGHTS_TAG, Classifier, Version, model_name
from fmnist_sweep.workspace import Workspace

if TYPE_CHECKING:
    from fmnist_sweep.tracking.mlflow.registry import MlflowRegistry

_SHOWN = 3
_MIDDLE = 127.5
_MOST_PIXELS = 100_000_000
_FAINT = 24  # darker pixels count as background
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by the model's channels
_MOST_AT_A_TIME, _MOST_BYTES = 100, 1 << 24  # pictures, and their total bytes
_TAKEN_AS_THEY_ARE = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


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
    at_a_time = min(_MOST_AT_A_TIME, max(1, _MOST_BYTES // math.prod(classifier.image_shape)))
    unreadable: list[ConfigError] = []
    for first in range(0, len(paths), at_a_time):
        inputs = {}
        for number, path in enumerate(paths[first : first + at_a_time], start=first):
            try:
                inputs[number] = fitted(opened(path), classifier.image_shape)
            except ConfigError as error:
                unreadable.append(error)
                if len(paths) > 1:
                    sys.stderr.write(f"{error}\n")
        if inputs:
            shown = [_shown(paths[number]) for number in inputs]
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


def _check_channels(version: Version, shape: tuple[int, int, int]) -> None:
    if shape[2] not in _MODES:
        raise ConfigError(
            f"predict: {version.name} version {version.number} takes images of {shape[2]} "
            "channels; allowed: models of 1 (grey), 2 (grey and opacity), 3 (RGB) or 4 (RGB and "
            "opacity)"
        )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A picture as a model's input: `pixels` uint8 (height, width, channels), and the preprocessing
    in words, `how`."""

    pixels: NDArray[np.uint8]
    how: str


def fitted(picture: Image.Image, shape: tuple[int, int, int]) -> Fitted:
    """Convert a picture of any size and mode to a model's (height, width, channels).

    An opaque picture of that size is used as is. Others are processed as Fashion-MNIST's
    photographs were (Xiao et al. 2017, arXiv 1708.07747, figure 1): inverted to light on dark if
    their edge is light, cropped to the content, resized without distortion and centred; and
    converted to grey for a model with one channel. For a model with two or four channels, grey or
    RGB with opacity as the last channel, only the size is changed.
    """
    height, width, channels = shape
    mode, grey = _MODES[channels], channels == 1
    steps = []
    if mode in ("L", "RGB") and _has_opacity(picture):
        picture = picture.convert("RGBA")
        # On white, as the background of the photographs was.
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture).convert("RGB")
        steps.append("on white")
    picture = picture.convert(mode)
    as_it_is = not steps and picture.size == (width, height)
    if grey and not as_it_is and _edge(picture) > _MIDDLE:
        picture = picture.point(lambda value: 255 - value)
        steps.append("inverted")
    if picture.size != (width, height):
        picture = _cut(picture) if grey else picture
        picture = _centred(picture, width, height)
        steps.append(f"fitted to {width}x{height}")
    pixels = np.asarray(picture, dtype=np.uint8).reshape(height, width, channels)
    return Fitted(pixels, ", ".join(steps) or "none")


def _has_opacity(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info


def opened(path: Path) -> Image.Image:
    """Read a picture, rotated by its EXIF orientation, with 8 bits per channel: grey, palette or
    RGB, with or without transparency. Of several frames or pages the first is used.

    Raises:
        ConfigError: it is not a readable picture, or too large.
    """
    shown = f"predict: {_shown(path)}"
    try:
        if not path.is_file():  # reading a pipe would block
            reason = "is not a file" if path.exists() else "no such file"
            raise ConfigError(f"{shown}: {reason}; allowed: [SWEEP] IMAGE...")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that Pillow can read nevertheless
            with Image.open(path) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    raise ConfigError(
                        f"{shown}: {picture.width}x{picture.height} pixels; allowed: up to "
                        f"{_MOST_PIXELS:,}"
                    )
                if picture.format == "EPS":  # a program, run by Ghostscript
                    raise ConfigError(
                        f"{shown}: EPS is not supported; allowed: pixels, such as PNG"
                    )
                return _of_8_bits(ImageOps.exif_transpose(picture))
    except ConfigError:
        raise
    except Image.DecompressionBombError as error:
        raise ConfigError(f"{shown}: too large; allowed: up to {_MOST_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ConfigError(f"{shown}: cannot be read as a picture: its format is unknown") from error
    except Exception as error:  # a damaged picture makes Pillow raise all kinds
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = " ".join(said.split())[:200]
        raise ConfigError(f"{shown}: cannot be read as a picture: {reason}") from error


def _shown(path: Path) -> str:
    """Return a path on one line, whatever characters and bytes its name has."""
    text = str(path).encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _of_8_bits(picture: Image.Image) -> Image.Image:
    """Return a picture with 8 bits per channel; Pillow itself would truncate 16 bits, not scale
    them."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    if picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture))
        most = 1.0 if values.max() <= 1.0 else 255.0
        return Image.fromarray((values.clip(0.0, most) * (255.0 / most)).astype(np.uint8))
    return picture.copy() if picture.mode in _TAKEN_AS_THEY_ARE else picture.convert("RGB")


def _edge(picture: Image.Image) -> float:
    """Return the mean of the outermost pixels, 0..255."""
    pixels = np.asarray(picture)
    sides = (pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1])
    return float(np.mean(np.concatenate(sides)))


def _cut(picture: Image.Image) -> Image.Image:
    """Crop a grey picture to its content, without the dark border."""
    # A photograph's background is never quite uniform.
    box = picture.point(lambda value: 255 if value > _FAINT else 0).getbbox()
    return picture if box is None else picture.crop(box)


def _centred(picture: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.resize(size, Image.Resampling.LANCZOS)
    whole = Image.new(picture.mode, (width, height))
    whole.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return whole


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
                f"predict: {_shown(Path(first))}: neither a file nor a sweep whose winner is "
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
