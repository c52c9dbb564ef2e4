"""Drawn data and answers of any number of classes and channels; what every picture is to be."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fmnist_sweep.analysis.material import DataMaterial, WinnerMaterial
from fmnist_sweep.pictures.style import to_png

HOSTILE = ("$x_1^2$", "a <b>bold</b> & long name " * 4, "two\nlines", "犬\x07", "", "$")


def names_of(classes: int) -> tuple[str, ...]:
    return tuple(HOSTILE[i] if i < len(HOSTILE) else f"class {i}" for i in range(classes))


def drawn_data(classes: int, channels: int = 1, samples: int = 5) -> DataMaterial:
    draws = np.random.default_rng(classes)
    counts = {
        "train": draws.integers(10, 5000, classes),
        "validation": draws.integers(0, 50, classes),
        "test": np.full(classes, 20),
    }
    images = draws.integers(0, 256, (classes, samples, 12, 16, channels), dtype=np.uint8)
    return DataMaterial("$data_1$", "mine.npz", False, names_of(classes), counts, images)


def drawn_winner(classes: int, channels: int = 1, images: int = 300) -> WinnerMaterial:
    draws = np.random.default_rng(classes)
    labels = draws.integers(0, classes, images)
    probabilities = draws.dirichlet(np.full(classes, 0.3), images)
    probabilities[np.arange(images), labels] += 0.2
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    pixels = draws.integers(0, 256, (images, 12, 16, channels), dtype=np.uint8)
    return WinnerMaterial.of(3, "a" * 64, probabilities, labels, pixels)


def check_picture(figure: Figure) -> list[str]:
    """Check that a figure can be drawn, is not blank, and reads none of its texts as mathematics;
    return those texts."""
    from matplotlib.text import Text

    png = to_png(figure)
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert 300 <= image.shape[1] <= 1700
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 5
    texts = [found for found in figure.findobj(Text) if isinstance(found, Text)]
    assert not any(text.get_parse_math() for text in texts if "$" in text.get_text())
    return [text.get_text() for text in texts if text.get_text()]
