"""Pictures of any size, mode and depth, brought to what a model takes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fmnist_sweep.errors import ConfigError
from fmnist_sweep.prediction import fitted, opened

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA"]
"""What pictures come in, once they are read."""


@settings(deadline=None)
@given(
    mode=st.sampled_from(MODES),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])),
)
def test_any_picture_becomes_what_the_model_takes(
    mode: str, size: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    seen = fitted(Image.new(mode, size), shape)
    assert seen.pixels.shape == shape
    assert seen.pixels.dtype == np.uint8


@pytest.mark.parametrize("mode", [*MODES, "CMYK", "YCbCr", "LAB", "I;16", "F"])
def test_a_file_of_any_mode_is_read(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.tiff"
    Image.new("P" if mode == "PA" else mode, (9, 7)).save(path)
    assert opened(path).mode in MODES
    assert fitted(opened(path), (28, 28, 1)).pixels.shape == (28, 28, 1)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_image_of_the_data_stays_as_it_is(seed: int) -> None:
    pixels = np.random.RandomState(seed).randint(0, 256, (28, 28)).astype(np.uint8)
    same = fitted(Image.fromarray(pixels), (28, 28, 1))
    assert same.how == "it is"
    np.testing.assert_array_equal(same.pixels[..., 0], pixels)


@pytest.mark.parametrize("kind", ["L", "1", "RGB", "I;16", "F"])
def test_a_garment_on_a_light_ground_becomes_light_on_dark(tmp_path: Path, kind: str) -> None:
    ground = np.full((120, 80), 250, np.uint8)
    ground[30:90, 20:60] = 40
    path = tmp_path / "photograph.tiff"
    if kind == "I;16":
        Image.fromarray(ground.astype(np.uint16) * 257).save(path)
    elif kind == "F":
        Image.fromarray(ground.astype(np.float32) / 255).save(path)
    else:
        Image.fromarray(ground).convert(kind, dither=Image.Dither.NONE).save(path)
    seen = fitted(opened(path), (28, 28, 1))
    assert seen.how == "inverted, fitted to 28x28"
    # Cut to the garment, 40 by 60, which then has the height, and stands in the middle.
    columns = np.flatnonzero(seen.pixels[14, :, 0] > 127)
    assert (columns[0], columns[-1]) == (4, 22)
    assert (seen.pixels[:, 14, 0] > 127).all()


def test_what_is_no_picture_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    Image.new("L", (28, 28)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("empty.png", "cut.png", "text.png", "folder.png", "pipe.png", "missing.png"):
        with pytest.raises(ConfigError, match=name) as refused:
            opened(tmp_path / name)
        assert "\n" not in str(refused.value)
