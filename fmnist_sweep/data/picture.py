"""One picture: read from its file's bytes, and brought to the size and channels of a model."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fmnist_sweep.config.data_schema import Fit

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's modes by the number of channels."""
READER = 1
"""Raised when a change makes other pixels of the same file."""
_MOST_PIXELS = 100_000_000
_MIDDLE = 127.5
_FAINT = 24  # darker pixels count as background
_TAKEN_AS_THEY_ARE = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
Shape = tuple[int, int, int]


class UnreadableError(Exception):
    """A file that is not a picture, a damaged one, or one that is too large; says which."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A picture as a model's input: `pixels` uint8 (height, width, channels), and the preprocessing
    in words, `how`."""

    pixels: NDArray[np.uint8]
    how: str


def read_picture(source: Path | BinaryIO | bytes) -> Image.Image:
    """Read a picture, rotated by its EXIF orientation, with 8 bits per channel: grey, palette or
    RGB, with or without transparency. Of several frames or pages the first is used.

    Pillow warns about files that it can read nevertheless; the caller ignores warnings.

    Raises:
        UnreadableError: it is not a readable picture, or too large.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise UnreadableError(
                    f"{picture.width}x{picture.height} pixels; allowed: up to {_MOST_PIXELS:,}"
                )
            if picture.format == "EPS":  # a program, run by Ghostscript
                raise UnreadableError("EPS is not supported; allowed: pixels, such as PNG")
            return _of_8_bits(ImageOps.exif_transpose(picture))
    except UnreadableError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"too large; allowed: up to {_MOST_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadableError("cannot be read as a picture: its format is unknown") from error
    except Exception as error:  # a damaged picture makes Pillow raise all kinds
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = " ".join(said.split())[:200]
        raise UnreadableError(f"cannot be read as a picture: {reason}") from error


def fitted(picture: Image.Image, shape: Shape) -> Fitted:
    """Convert a picture of any size and mode to a model's (height, width, channels).

    An opaque picture of that size is used as is. Others are processed as Fashion-MNIST's
    photographs were (Xiao et al. 2017, arXiv 1708.07747, figure 1): inverted to light on dark if
    their edge is light, cropped to the content, resized without distortion and centred; and
    converted to grey for a model with one channel. For a model with two or four channels, grey or
    RGB with opacity as the last channel, only the size is changed.
    """
    height, width, channels = shape
    mode, grey = MODES[channels], channels == 1
    steps = []
    if mode in ("L", "RGB") and _has_opacity(picture):
        picture = _on_white(picture)
        steps.append("on white")
    picture = picture.convert(mode)
    as_it_is = not steps and picture.size == (width, height)
    if grey and not as_it_is and _edge(picture) > _MIDDLE:
        picture = picture.point(lambda value: 255 - value)
        steps.append("inverted")
    if picture.size != (width, height):
        picture = _cut(picture) if grey else picture
        picture = _padded(picture, width, height)
        steps.append(f"fitted to {width}x{height}")
    return Fitted(_pixels(picture, shape), ", ".join(steps) or "none")


def fitted_by(fit: Fit, picture: Image.Image, shape: Shape) -> Fitted:
    """Convert a picture to a model's (height, width, channels).

    `fit`: `predict` as `fitted` does; otherwise only the size is changed: `stretch` distorts,
    `crop` cuts off what is too long on both sides, `pad` adds black. What is transparent is put on
    white, unless opacity is a channel.
    """
    if fit == "predict":
        return fitted(picture, shape)
    height, width, channels = shape
    if channels in (1, 3) and _has_opacity(picture):
        picture = _on_white(picture)
    picture = picture.convert(MODES[channels])
    if picture.size == (width, height):
        return Fitted(_pixels(picture, shape), "none")
    return Fitted(
        _pixels(_RESIZED[fit](picture, width, height), shape), f"{fit} to {width}x{height}"
    )


def shown_path(path: Path | str) -> str:
    """Return a path on one line, whatever characters and bytes its name has."""
    text = str(path)
    if text.isascii() and text.isprintable():
        return text
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _stretched(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _cropped(picture: Image.Image, width: int, height: int) -> Image.Image:
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def _padded(picture: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.resize(size, Image.Resampling.LANCZOS)
    whole = Image.new(picture.mode, (width, height))
    whole.paste(small, ((width - size[0]) // 2, (height - size[1]) // 2))
    return whole


_RESIZED: Mapping[str, Callable[[Image.Image, int, int], Image.Image]] = {
    "stretch": _stretched,
    "crop": _cropped,
    "pad": _padded,
}


def _pixels(picture: Image.Image, shape: Shape) -> NDArray[np.uint8]:
    return np.asarray(picture, dtype=np.uint8).reshape(shape)


def _has_opacity(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info


def _on_white(picture: Image.Image) -> Image.Image:
    """Put a transparent picture on white, as the background of Fashion-MNIST's photographs was."""
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(ground, picture).convert("RGB")


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
