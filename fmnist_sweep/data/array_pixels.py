"""Pixels in a user's arrays: where the channels are, and what the brightest value means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep.data.dataset import in_words
from fmnist_sweep.errors import DataError

BRIGHTEST = 255
_AT_A_TIME = 4096  # images
_CHANNELS = (1, 3)  # grey and RGB: what is recognised where the channels come first
_MOST_CHANNELS = 4  # more than that, and the last axis may be a width


@dataclass(frozen=True)
class PixelForm:
    """How arrays are turned into images: the brightest pixel, 1 or 255, and whether the channels
    come first."""

    pixel_max: int
    channels_first: bool

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was done, in words."""
        scaled = ("pixels of 0..1 scaled to 0..255",) if self.pixel_max == 1 else ()
        return (*(("channels first, turned",) if self.channels_first else ()), *scaled)


def form_of(
    images: NDArray[Any], name: str, pixel_max: int | None, channels_first: bool | None
) -> PixelForm:
    """Return the form of training images, finding out what is None.

    Channels come first where there are one or three in the second axis and more than four in the
    last. Pixels are of 0..1 where none is above 1, and one is above 0.

    Raises DataError if the images have another number of axes, or it cannot be told which of them
    are the channels.
    """
    _check_shape(images, name)
    if channels_first is None:
        channels_first = images.ndim == 4 and _are_channels_first(images.shape, name)
    if pixel_max is None:
        brightest = 0.0 if images.dtype.kind not in "iufb" else float(np.max(images))
        pixel_max = 1 if 0.0 < brightest <= 1.0 else BRIGHTEST
    return PixelForm(pixel_max, channels_first)


def as_pixels(images: NDArray[Any], name: str, form: PixelForm) -> NDArray[np.uint8]:
    """Return images as uint8 (n, height, width, channels), 0..255.

    Raises DataError, naming the array, for another number of axes or an invalid pixel.
    """
    _check_shape(images, name)
    if images.dtype.kind not in "iufb":
        raise DataError(
            f"{name} has dtype {images.dtype}; allowed: numbers, 0..{BRIGHTEST} (preferably uint8) "
            "or 0..1"
        )
    if form.pixel_max == BRIGHTEST and images.dtype == np.uint8:
        pixels: NDArray[np.uint8] = images
    else:
        pixels = np.empty(images.shape, np.uint8)
        for start in range(0, len(images), _AT_A_TIME):
            some = images[start : start + _AT_A_TIME]
            pixels[start : start + _AT_A_TIME] = _checked(some, name, start, form.pixel_max)
    if pixels.ndim == 3:
        return pixels[..., np.newaxis]
    return np.ascontiguousarray(np.moveaxis(pixels, 1, 3)) if form.channels_first else pixels


def _check_shape(images: NDArray[Any], name: str) -> None:
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{name} has shape {images.shape}; allowed: (n, height, width) or "
            "(n, height, width, channels), all at least 1"
        )


def _are_channels_first(shape: tuple[int, ...], name: str) -> bool:
    _, first, second, last = shape
    if last <= _MOST_CHANNELS:
        return False
    if first in _CHANNELS:
        return True
    if second == last != first:
        raise DataError(
            f"{name} has shape {shape}, understood as {in_words((first, second))} pixels of {last} "
            "channels; allowed: data.channels_first=true if the channels are the second axis, "
            "false if that is what it means"
        )
    return False


def _checked(images: NDArray[Any], name: str, start: int, largest: int) -> NDArray[Any]:
    if images.dtype.kind == "b":
        return images.astype(np.uint8) * np.uint8(BRIGHTEST if largest == 1 else 1)
    wrong = ~((images >= 0) & (images <= largest))
    if largest == BRIGHTEST and images.dtype.kind == "f":
        wrong |= images != np.rint(images)
    if wrong.any():
        first = tuple(int(index) for index in np.argwhere(wrong)[0])
        where = ", ".join(map(str, (start + first[0], *first[1:])))
        also = ", whole numbers, or 0..1 all of them" if images.dtype.kind == "f" else ""
        raise DataError(
            f"{name}[{where}] is {images[first]}; allowed for pixels: 0..{largest}{also}"
        )
    return np.rint(images * np.float64(BRIGHTEST)) if largest == 1 else images
