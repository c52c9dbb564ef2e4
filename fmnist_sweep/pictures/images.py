"""Converts images with any number of channels to RGB for display."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def on_screen(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image, uint8 (height, width, channels), as RGB.

    One channel is shown as grey, three as colour; the fourth of four (opacity) is dropped; for any
    other number the mean is shown as grey.
    """
    channels = image.shape[2]
    if channels in (3, 4):
        return image[:, :, :3]
    grey = np.rint(image.mean(axis=2, keepdims=True)).astype(np.uint8)
    return np.repeat(grey, 3, axis=2)
