"""Silhouettes of the ten Fashion-MNIST classes, drawn with signed distances to simple shapes.

Coordinates: x to the right, y down, the garment within -1..1. A shape is an array of distances,
positive inside and negative outside; a union is a maximum, an intersection a minimum.
Only operations that IEEE 754 rounds exactly are used, so that images are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]
"""(n, height, width), or broadcastable to it."""
Style: TypeAlias = tuple[Field, Field, Field]
"""Three numbers in 0..1 per image, (n, 1, 1), that vary the garment."""
Garment: TypeAlias = Callable[[Field, Field, Style], tuple[Field, Field]]
"""A shape, and its darker part."""

TRAITS = 8


def draw_garments(
    labels: NDArray[np.int64], image_size: int, random: np.random.RandomState
) -> Field:
    """Draw a garment for each label 0..9: float32, (n, image_size, image_size), 0..1.

    Position, size, brightness and style differ between images.
    """
    traits = random.random_sample((len(labels), TRAITS)).astype(np.float32)
    drawn = np.empty((len(labels), image_size, image_size), np.float32)
    for label, garment in enumerate(GARMENTS):
        members = np.flatnonzero(labels == label)
        drawn[members] = _draw(garment, traits[members], image_size)
    return drawn


def _draw(garment: Garment, traits: Field, image_size: int) -> Field:
    by_image = [trait[:, None, None] for trait in traits.T]
    shift_x, shift_y, scale_x, scale_y, brightness = by_image[:5]
    axis = (2 * np.arange(image_size, dtype=np.float32) + 1) / image_size - 1
    x = (axis[None, None, :] - 0.24 * (shift_x - 0.5)) / (0.8 + 0.3 * scale_x)
    y = (axis[None, :, None] - 0.2 * (shift_y - 0.5)) / (0.8 + 0.25 * scale_y)
    shape, darker = garment(x, y, (by_image[5], by_image[6], by_image[7]))
    pixel = 2 / image_size
    covered = _coverage(shape, pixel)
    drawn: Field = covered * (0.45 + 0.55 * brightness) * (1 - 0.45 * _coverage(darker, pixel))
    return drawn


def _coverage(inside: Field, pixel: float) -> Field:
    covered: Field = np.clip(inside / pixel + 0.5, 0, 1)
    return covered


def _t_shirt(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    sleeve, width, neck = style
    shape = _upper_body(x, y, reach=0.16 + 0.34 * sleeve, half=0.4 + 0.1 * width, hem=0.75)
    return np.minimum(shape, -_ellipse(x, y + 0.78, 0.2, 0.1 + 0.12 * neck)), _nowhere(shape)


def _trouser(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    flare, rise, width = style
    half = 0.3 + 0.12 * width
    crotch = -0.45 + 0.3 * rise
    outline = _trapezoid(x, y, -0.9, 0.92, half, half + 0.12 * flare)
    gap = _trapezoid(x, y, crotch, 1.2, 0.0 * rise, 0.06 + 0.14 * rise)
    return np.minimum(outline, -gap), _box(x, y, -1, 1, -0.92, -0.78)


def _pullover(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    sleeve, width, neck = style
    shape = _upper_body(x, y, reach=0.55 + 0.55 * sleeve, half=0.38 + 0.12 * width, hem=0.75)
    cut = np.minimum(shape, -_ellipse(x, y + 0.78, 0.16, 0.04 + 0.1 * neck))
    return cut, _box(x, y, -0.6, 0.6, 0.66, 0.8)


def _dress(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    flare, sleeve, waist = style
    at_waist = -0.25 + 0.2 * waist
    top = _trapezoid(x, y, -0.88, at_waist, 0.24, 0.2)
    skirt = _trapezoid(x, y, at_waist - 0.02, 0.92, 0.2, 0.24 + 0.34 * flare)
    arms = _both_sides(x, y, (0.2, -0.75), (0.22 + 0.26 * sleeve, -0.72 + 0.35 * sleeve), 0.09)
    shape = np.maximum(np.maximum(top, skirt), arms)
    return np.minimum(shape, -_ellipse(x, y + 0.9, 0.12, 0.16)), _nowhere(shape)


def _coat(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    sleeve, length, opening = style
    hem = 0.72 + 0.2 * length
    shape = _upper_body(x, y, reach=0.75 + 0.4 * sleeve, half=0.42 + 0.06 * length, hem=hem)
    collar = _trapezoid(x, y, -0.85, -0.35, 0.22, 0.0 * opening)
    front = _box(x, y, -0.05, 0.05, -0.6, 1)
    return shape, np.maximum(front, np.minimum(collar, 0.3 * opening))


def _sandal(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    heel, strap, tilt = style
    ground = 0.5 - 0.35 * heel * np.clip(x, 0, 1)
    sole = np.minimum(np.minimum(0.08 - np.abs(y - ground), x + 0.88), 0.88 - x)
    block = _box(x, y, 0.62, 0.86, 0.3, 0.58)
    front = _segment(x, y, (-0.6, 0.45), (-0.2 + 0.2 * tilt, 0.1), 0.07)
    cross = _segment(x, y, (-0.2 + 0.2 * tilt, 0.1), (0.15, 0.45), 0.06)
    back = _segment(x, y, (0.3, 0.35), (0.72, -0.15 - 0.3 * strap), 0.06)
    ankle = _segment(x, y, (0.2, -0.05), (0.78, -0.1 - 0.3 * strap), 0.06)
    shape = _union(sole, block, front, cross, back, ankle)
    return shape, _nowhere(shape)


def _shirt(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    sleeve, width, buttons = style
    shape = _upper_body(x, y, reach=0.3 + 0.75 * sleeve, half=0.38 + 0.1 * width, hem=0.8)
    cut = np.minimum(shape, -_ellipse(x, y + 0.78, 0.12, 0.12))
    spaced = np.abs(np.remainder(4 * y, 1) - 0.5) / 4
    return cut, np.minimum(0.03 + 0.05 * buttons - spaced, 0.06 - np.abs(x))


def _sneaker(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    height, toe, laces = style
    return _shoe(x, y, top=0.02 - 0.3 * height, toe=0.2 + 0.14 * toe), _segment(
        x, y, (-0.3, 0.2), (0.05, -0.05), 0.03 + 0.05 * laces
    )


def _bag(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    height, width, handle = style
    top = -0.2 + 0.3 * height
    body = _trapezoid(x, y, top, 0.75, 0.5 + 0.2 * width, 0.6 + 0.25 * width)
    rise = 0.3 + 0.35 * handle
    outer = _ellipse(x, y - top, 0.45, rise)
    ring = np.minimum(outer, -_ellipse(x, y - top, 0.33, rise - 0.12))
    return np.maximum(body, ring), _box(x, y, -1, 1, top + 0.1, top + 0.18)


def _ankle_boot(x: Field, y: Field, style: Style) -> tuple[Field, Field]:
    height, toe, heel = style
    upper = _shoe(x, y, top=-0.2, toe=0.18 + 0.14 * toe)
    shaft = _box(x, y, 0.08, 0.76, -0.25 - 0.6 * height, 0.5)
    block = _box(x, y, 0.45, 0.78, 0.5, 0.66 + 0.16 * heel)
    return _union(upper, shaft, block), _nowhere(upper)


def _upper_body(x: Field, y: Field, reach: Field, half: Field, hem: Field | float) -> Field:
    """A torso with arms; `reach` is the length of a sleeve from the shoulder."""
    torso = _trapezoid(x, y, -0.75, hem, half, half)
    hand = (half - 0.06 + 0.5 * reach, -0.58 + 0.9 * reach)
    arms = _both_sides(x, y, (half - 0.06, -0.58), hand, 0.14)
    return np.maximum(torso, arms)


def _shoe(x: Field, y: Field, top: Field | float, toe: Field) -> Field:
    """A low shoe with its toe to the left; `top` is the upper edge."""
    sole = _box(x, y, -0.88, 0.8, 0.44, 0.6)
    toe_cap = np.minimum(_ellipse(x + 0.45, y - 0.5, 0.42, toe), 0.5 - y)
    slope = np.minimum(x + 0.5 + 0.9 * (y - 0.35), 0.78 - x)
    upper = np.minimum(np.minimum(slope, y - top), 0.5 - y)
    return _union(sole, toe_cap, upper)


def _union(first: Field, *others: Field) -> Field:
    for other in others:
        first = np.maximum(first, other)
    return first


def _nowhere(like: Field) -> Field:
    return np.full((1, 1, 1), -2, like.dtype)


def _box(
    x: Field,
    y: Field,
    left: float,
    right: float,
    top: Field | float,
    bottom: Field | float,
) -> Field:
    inside: Field = np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))
    return inside


def _trapezoid(
    x: Field,
    y: Field,
    top: Field | float,
    bottom: Field | float,
    half_top: Field | float,
    half_bottom: Field | float,
) -> Field:
    half = half_top + (half_bottom - half_top) * ((y - top) / (bottom - top))
    inside: Field = np.minimum(half - np.abs(x), np.minimum(y - top, bottom - y))
    return inside


def _ellipse(x: Field, y: Field, half_width: float, half_height: Field | float) -> Field:
    radius = np.sqrt(np.square(x / half_width) + np.square(y / half_height))
    inside: Field = (1 - radius) * np.minimum(half_width, half_height)
    return inside


def _both_sides(
    x: Field,
    y: Field,
    start: tuple[Field | float, Field | float],
    end: tuple[Field | float, Field | float],
    radius: float,
) -> Field:
    return _segment(np.abs(x), y, start, end, radius)


def _segment(
    x: Field,
    y: Field,
    start: tuple[Field | float, Field | float],
    end: tuple[Field | float, Field | float],
    radius: Field | float,
) -> Field:
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    from_x, from_y = x - start[0], y - start[1]
    length_squared = along_x * along_x + along_y * along_y
    part = np.clip((from_x * along_x + from_y * along_y) / length_squared, 0, 1)
    inside: Field = radius - np.sqrt(
        np.square(from_x - part * along_x) + np.square(from_y - part * along_y)
    )
    return inside


GARMENTS: tuple[Garment, ...] = (
    _t_shirt, _trouser, _pullover, _dress, _coat,
    _sandal, _shirt, _sneaker, _bag, _ankle_boot,
)  # fmt: skip
