"""`predict`: what a registered model takes pictures for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.table import Table

from fmnist_sweep import environment
from fmnist_sweep.config.schema import Config
from fmnist_sweep.data import fashion_mnist
from fmnist_sweep.errors import ConfigError
from fmnist_sweep.report.console import console
from fmnist_sweep.tracking import open_registry
from fmnist_sweep.tracking.registered import AUTO, WEIGHTS_TAG, Version, model_name

if TYPE_CHECKING:
    from fmnist_sweep.tracking.registry import MlflowRegistry

_SHOWN = 3
_MIDDLE = 127.5
_MOST_PIXELS = 100_000_000
_FAINT = 24  # what is darker is no part of what a picture shows
_TAKEN_AS_THEY_ARE = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


def predict(config: Config, *words: str) -> None:
    """Print what pictures show, with probabilities: by the champion, or by the winner of the sweep
    that the first word names.

    Raises:
        ConfigError: a file cannot be read as a picture, or there is no such model.
    """
    registry = open_registry(
        config.tracking,
        root=Path.cwd(),
        environment_uri=environment.tracking_uri_from_environment(),
    )
    sweep = None if len(words) < 2 or Path(words[0]).is_file() else words[0]
    paths = [Path(word) for word in (words if sweep is None else words[1:])]
    pictures = [opened(path) for path in paths]
    version = _champion(registry, config) if sweep is None else _winner(registry, sweep)
    classifier = registry.load(version)
    inputs = [fitted(picture, classifier.image_shape) for picture in pictures]
    batch = np.stack([given.pixels for given in inputs])
    answers = classifier.predict(batch[..., 0] if batch.shape[-1] == 1 else batch)
    out = console()
    of = ""
    if WEIGHTS_TAG in version.tags:  # one that somebody else has registered has none of our tags
        accuracy = float(version.tags["test_accuracy"])
        of = f" (sweep {version.tags['sweep.name']}, test_accuracy {accuracy:.4f})"
    out.print(f"{version.name} version {version.number}{of}", soft_wrap=True)
    table = Table()
    for name in ("image", "class", "probability", "then", "seen as"):
        table.add_column(name, overflow="fold")
    for path, given, (_, row) in zip(paths, inputs, answers.iterrows(), strict=True):
        first, *others = row.sort_values(ascending=False, kind="stable").items()
        then = ", ".join(f"{name} {chance:.3f}" for name, chance in others[: _SHOWN - 1])
        table.add_row(str(path), str(first[0]), f"{first[1]:.3f}", then, given.how)
    out.print(table)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A picture as a model takes it: `pixels` uint8 (height, width, channels), and in words `how`
    it came to them."""

    pixels: NDArray[np.uint8]
    how: str


def fitted(picture: Image.Image, shape: tuple[int, int, int]) -> Fitted:
    """Bring a picture of any size and mode to a model's (height, width, channels).

    One of that size that covers all of it is taken as it is. Others are brought to it as
    Fashion-MNIST's own photographs were (Xiao et al. 2017, arXiv 1708.07747, figure 1): turned
    light on dark where their edge is light, cut to what they show, fitted without distortion, and
    centred; where the model takes one channel they become grey.
    """
    height, width, channels = shape
    grey = channels == 1
    steps = []
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        # On what is no colour of the garment's own: the photographs stood on white.
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture).convert("RGB")
        steps.append("on white")
    picture = picture.convert("L" if grey else "RGB")
    as_it_is = not steps and picture.size == (width, height)
    if grey and not as_it_is and _edge(picture) > _MIDDLE:
        picture = picture.point(lambda value: 255 - value)
        steps.append("inverted")
    if picture.size != (width, height):
        picture = _cut(picture) if grey else picture
        picture = _centred(picture, width, height)
        steps.append(f"fitted to {width}x{height}")
    pixels = np.asarray(picture, dtype=np.uint8).reshape(height, width, channels)
    return Fitted(pixels, ", ".join(steps) or "it is")


def opened(path: Path) -> Image.Image:
    """Read a picture, turned as its camera says, with 8 bits a channel: grey, of a palette, or in
    RGB, with or without transparency.

    Raises:
        ConfigError: it cannot be read as a picture, or is too large.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ConfigError(f"predict: {path}: is no file; allowed: [SWEEP] IMAGE...")
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise ConfigError(
                    f"predict: {path}: {picture.width}x{picture.height} pixels; allowed: up to "
                    f"{_MOST_PIXELS:,}"
                )
            return _of_8_bits(ImageOps.exif_transpose(picture))
    except FileNotFoundError as error:
        raise ConfigError(f"predict: {path}: no such file; allowed: [SWEEP] IMAGE...") from error
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigError(f"predict: {path}: cannot be read as a picture: {error}") from error


def _of_8_bits(picture: Image.Image) -> Image.Image:
    """Return a picture with 8 bits a channel; of more, Pillow would cut them off, not scale."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    if picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture))
        most = 1.0 if values.max() <= 1.0 else 255.0
        return Image.fromarray((values.clip(0.0, most) * (255.0 / most)).astype(np.uint8))
    return picture.copy() if picture.mode in _TAKEN_AS_THEY_ARE else picture.convert("RGB")


def _edge(picture: Image.Image) -> float:
    """Return the mean of the outermost pixels, 0 to 255."""
    pixels = np.asarray(picture)
    sides = (pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1])
    return float(np.mean(np.concatenate(sides)))


def _cut(picture: Image.Image) -> Image.Image:
    """Return what a grey picture shows, without the dark around it."""
    # A photograph's ground is never quite even.
    box = picture.point(lambda value: 255 if value > _FAINT else 0).getbbox()
    return picture if box is None else picture.crop(box)


def _centred(picture: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.resize(size, Image.Resampling.LANCZOS)
    whole = Image.new(picture.mode, (width, height))
    whole.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return whole


def _champion(registry: MlflowRegistry, config: Config) -> Version:
    name = model_name(config.tracking.registered_model or AUTO, fashion_mnist.NAME)
    champion = registry.champion(name)
    if champion is None:
        there = ", ".join(registry.names()) or "none"
        raise ConfigError(
            f"predict: registered model {name} has no champion; there are: {there}; a sweep "
            "registers its winner when it ends, tracking.registered_model=NAME takes another"
        )
    return champion


def _winner(registry: MlflowRegistry, sweep: str) -> Version:
    version = registry.of_sweep(sweep)
    if version is None:
        raise ConfigError(
            f"predict: {sweep}: neither a file nor a sweep whose winner is registered"
        )
    return version
