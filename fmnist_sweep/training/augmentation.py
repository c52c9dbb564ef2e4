"""Changes of training images: what an image gets in an epoch is a function of seed, epoch, image.

All random values of an epoch are drawn with NumPy, a row for each image; TensorFlow only applies
them, batch by batch. So an image is changed in the same way whichever batch, process or resumed
training it is in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fmnist_sweep.config.train_schema import AugmentConfig
from fmnist_sweep.training.randomness import augmentation_draws

Draws = dict[str, NDArray[np.float32] | NDArray[np.int32]]
"""A row for each image: `transform` float32 (n, 8), `erase` and `cut` int32 (n, 4), `partner` int32
(n,), `share` float32 (n,), `mix` float32 (n,); those that are needed."""

_ERASED_AREA, _ERASED_RATIO = (0.02, 0.4), 0.3
"""Random erasing's area as a fraction of the image, and the least ratio of sides: its paper's."""


class _Part(IntEnum):
    """What is drawn from a generator of its own."""

    FLIP = 0
    SHIFT = 1
    ROTATION = 2
    ZOOM = 3
    ERASE = 4
    PARTNER = 5
    MIX = 6
    CUT = 7
    WHICH = 8


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of a training.

    Args:
        config: which changes, and how large.
        seed: of the training.
        images: how many training images there are.
        height, width: of an image, in pixels.
    """

    config: AugmentConfig
    seed: int
    images: int
    height: int
    width: int

    def of_epoch(self, epoch: int) -> Draws:
        """Draw an epoch's values for all images; nothing if all changes are off."""
        draws: Draws = {}
        if self._moves:
            draws["transform"] = self._transforms(epoch)
        if self.config.erase > 0:
            draws["erase"] = self._erased(epoch)
        if self.config.mixes:
            draws |= self._mixed(epoch)
        return draws

    @property
    def interpolation(self) -> str:
        """How pixels are moved: whole pixels need no mean of neighbours."""
        is_exact = self.config.rotation == 0 and self.config.zoom == 0
        return "NEAREST" if is_exact else "BILINEAR"

    @property
    def _moves(self) -> bool:
        config = self.config
        return config.flip != "none" or max(config.shift, config.rotation, config.zoom) > 0

    def _draw(self, epoch: int, part: _Part) -> np.random.RandomState:
        return augmentation_draws(self.seed, epoch, part)

    def _transforms(self, epoch: int) -> NDArray[np.float32]:
        """Return affine maps from a pixel (x, y) of the result to one of the image, as TensorFlow's
        `ImageProjectiveTransformV3` takes them: the first two rows, then two zeros."""
        n, config = self.images, self.config
        turn = np.radians(self._draw(epoch, _Part.ROTATION).uniform(-1, 1, n) * config.rotation)
        scale = 1.0 / self._draw(epoch, _Part.ZOOM).uniform(1 - config.zoom, 1 + config.zoom, n)
        shift = self._draw(epoch, _Part.SHIFT).randint(-config.shift, config.shift + 1, (n, 2))
        mirror = np.where(self._flipped(epoch), -1.0, 1.0)
        a, b = np.cos(turn) * scale, np.sin(turn) * scale
        x, y = (self.width - 1) / 2, (self.height - 1) / 2
        # About the centre: turned and zoomed, mirrored, then moved by whole pixels.
        rows = np.zeros((n, 8))
        rows[:, 0], rows[:, 1] = mirror * a, -b
        rows[:, 3], rows[:, 4] = mirror * b, a
        to_x, to_y = x + shift[:, 0], y + shift[:, 1]
        rows[:, 2] = x - rows[:, 0] * to_x - rows[:, 1] * to_y
        rows[:, 5] = y - rows[:, 3] * to_x - rows[:, 4] * to_y
        return rows.astype(np.float32)

    def _flipped(self, epoch: int) -> NDArray[np.bool_]:
        match self.config.flip:
            case "none":
                return np.zeros(self.images, bool)
            case "random":
                return self._draw(epoch, _Part.FLIP).uniform(size=self.images) < 0.5
            case "alternating":  # Jordan 2024 (arXiv 2404.00498), section 3.6
                first = self._draw(0, _Part.FLIP).uniform(size=self.images) < 0.5
                return first ^ (epoch % 2 == 0)

    def _erased(self, epoch: int) -> NDArray[np.int32]:
        draw, n = self._draw(epoch, _Part.ERASE), self.images
        is_erased = draw.uniform(size=n) < self.config.erase
        area = draw.uniform(*_ERASED_AREA, n) * self.height * self.width
        ratio = np.exp(draw.uniform(np.log(_ERASED_RATIO), -np.log(_ERASED_RATIO), n))
        tall = np.minimum(np.rint(np.sqrt(area * ratio)), self.height)
        wide = np.minimum(np.rint(np.sqrt(area / ratio)), self.width)
        top = np.floor(draw.uniform(size=n) * (self.height - tall + 1))
        left = np.floor(draw.uniform(size=n) * (self.width - wide + 1))
        return _boxes(top, left, top + tall * is_erased, left + wide)

    def _mixed(self, epoch: int) -> Draws:
        config, n = self.config, self.images
        partner = self._draw(epoch, _Part.PARTNER).randint(0, n, n)
        mix = np.ones(n)
        if config.mixup > 0:
            mix = self._draw(epoch, _Part.MIX).beta(config.mixup, config.mixup, n)
        if config.cutmix == 0:
            return _mixed_draws(partner, mix, mix=mix)
        draw = self._draw(epoch, _Part.CUT)
        side = np.sqrt(1.0 - draw.beta(config.cutmix, config.cutmix, n))
        if config.mixup > 0:  # each image gets one of them
            is_cut = self._draw(epoch, _Part.WHICH).uniform(size=n) < 0.5
            side, mix = np.where(is_cut, side, 0.0), np.where(is_cut, 1.0, mix)
        middle_y, middle_x = draw.randint(0, self.height, n), draw.randint(0, self.width, n)
        tall, wide = np.floor(side * self.height), np.floor(side * self.width)
        top, left = np.maximum(middle_y - tall // 2, 0), np.maximum(middle_x - wide // 2, 0)
        bottom = np.minimum(middle_y - tall // 2 + tall, self.height)
        right = np.minimum(middle_x - wide // 2 + wide, self.width)
        share = mix * (1.0 - (bottom - top) * (right - left) / (self.height * self.width))
        cut = _boxes(top, left, bottom, right)
        mixed = {"mix": mix} if config.mixup > 0 else {}
        return {**_mixed_draws(partner, share, **mixed), "cut": cut}


def _mixed_draws(
    partner: NDArray[np.int64], share: NDArray[np.float64], **mix: NDArray[np.float64]
) -> Draws:
    draws: Draws = {"partner": partner.astype(np.int32), "share": share.astype(np.float32)}
    return draws | {name: values.astype(np.float32) for name, values in mix.items()}


def _boxes(*sides: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return (top, left, bottom, right), the last two exclusive, as rows."""
    return np.stack(sides, axis=1).astype(np.int32)


Rows = dict[str, tf.Tensor]


def with_partners(draws: Draws, order: NDArray[np.int64]) -> tuple[Draws, Draws]:
    """Return the rows of the images in that order, and those of the images they are mixed with."""
    of_images = {name: rows[order] for name, rows in draws.items()}
    if "partner" not in draws:
        return of_images, {}
    changes = ("transform", "erase")
    partners = of_images["partner"]
    return of_images, {name: draws[name][partners] for name in changes if name in draws}


def changed(pixels: tf.Tensor, rows: Rows, interpolation: str) -> tf.Tensor:
    """Return images that are moved, mirrored and erased: uint8 (n, height, width, channels)."""
    if "transform" in rows:
        pixels = tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels,
            transforms=rows["transform"],
            output_shape=tf.shape(pixels)[1:3],
            interpolation=interpolation,
            fill_mode="CONSTANT",
            fill_value=0.0,
        )
    if "erase" in rows:
        pixels = tf.where(_inside(rows["erase"], pixels), tf.zeros_like(pixels), pixels)
    return pixels


def cut_in(pixels: tf.Tensor, others: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Return images with a rectangle of others: uint8 (n, height, width, channels)."""
    return tf.where(_inside(boxes, pixels), others, pixels)


def scaled(pixels: tf.Tensor) -> tf.Tensor:
    """Return images as float32 in 0..1."""
    return tf.cast(pixels, tf.float32) * (1.0 / 255.0)


def mixed(values: tf.Tensor, others: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Return means of two float32 tensors (n, ...), in which the first has a share (n,)."""
    share = tf.reshape(share, [-1] + [1] * (len(values.shape) - 1))
    return share * values + (1.0 - share) * others


def _inside(boxes: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Return which pixels are inside: bool (n, height, width, 1)."""
    top, left, bottom, right = tf.unstack(boxes[:, :, None, None], axis=1)
    rows = tf.range(tf.shape(pixels)[1])[None, :, None]
    columns = tf.range(tf.shape(pixels)[2])[None, None, :]
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return inside[..., None]
