"""Images of any number of channels, as a picture shows them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def on_screen(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image, uint8 (height, width, channels), in red, green and blue.

    One channel is a grey; three are a colour, and of four the last, opacity, is left out; of any
    other number the mean is a grey.
    """
    channels = image.shape[2]
    if channels in (3, 4):
        return image[:, :, :3]
    grey = np.rint(image.mean(axis=2, keepdims=True)).astype(np.uint8)
    return np.repeat(grey, 3, axis=2)
