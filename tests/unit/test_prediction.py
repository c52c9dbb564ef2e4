"""Pictures of any size, mode and depth, brought to what a model takes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fmnist_sweep.cli.predict import opened
from fmnist_sweep.data.picture import fitted
from fmnist_sweep.errors import ConfigError

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA"]
"""What pictures come in, once they are read."""


@settings(deadline=None)
@given(
    mode=st.sampled_from(MODES),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4)),
)
def test_any_picture_becomes_what_the_model_takes(
    mode: str, size: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    seen = fitted(Image.new(mode, size), shape)
    assert seen.pixels.shape == shape
    assert seen.pixels.dtype == np.uint8


def test_two_and_four_channels_get_opacity_as_their_last() -> None:
    half = Image.new("RGBA", (9, 7), (10, 20, 30, 128))
    assert fitted(half, (7, 9, 4)).pixels[0, 0].tolist() == [10, 20, 30, 128]
    assert fitted(half, (7, 9, 4)).how == "none"
    assert fitted(half, (7, 9, 2)).pixels[0, 0].tolist() == [18, 128]
    assert fitted(Image.new("L", (9, 7), 50), (7, 9, 2)).pixels[0, 0].tolist() == [50, 255]
    wider = fitted(Image.new("RGB", (9, 7), "red"), (12, 9, 4))  # opaque on what is transparent
    assert wider.pixels[:, 4, 3].tolist() == [0, 0, *[255] * 7, 0, 0, 0]
    assert wider.how == "fitted to 9x12"


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
    assert same.how == "none"
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


def test_of_several_frames_the_first_is_read_and_turned_as_its_camera_says(tmp_path: Path) -> None:
    frames = [Image.new("L", (9, 7), grey) for grey in (10, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert fitted(opened(tmp_path / "moving.gif"), (7, 9, 1)).pixels.max() == 10
    frames[0].getexif()[0x0112] = 6  # Orientation: a quarter turn
    frames[0].save(tmp_path / "turned.jpg", exif=frames[0].getexif())
    assert opened(tmp_path / "turned.jpg").size == (7, 9)


def test_what_is_no_picture_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.png").touch()
    pixels = np.random.RandomState(0).randint(0, 256, (400, 400)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    second = whole.index(b"IDAT", whole.index(b"IDAT") + 4)
    (tmp_path / "broken.png").write_bytes(whole[:second] + b"\0!\n!" + whole[second + 4 :])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere")
    (tmp_path / "new\nline.png").write_text("no picture")
    Image.new("1", (10001, 10000)).save(tmp_path / "large.png")
    Image.new("L", (9, 7)).save(tmp_path / "program.eps")
    os.mkfifo(tmp_path / "pipe.png")
    for name, reason in [
        ("empty.png", "cannot be read as a picture: its format is unknown"),
        ("cut.png", "cannot be read as a picture: image file is truncated"),
        ("broken.png", "cannot be read as a picture: broken PNG file"),
        ("text.png", "cannot be read as a picture: its format is unknown"),
        ("folder.png", "is not a file"),
        ("pipe.png", "is not a file"),
        ("link.png", "no such file"),
        ("missing.png", "no such file"),
        (f"{'x' * 300}.png", "cannot be read as a picture: File name too long"),
        ("large.png", "10001x10000 pixels; allowed: up to 100,000,000"),
        ("program.eps", "EPS is not supported"),
    ]:
        with pytest.raises(ConfigError) as refused:
            opened(tmp_path / name)
        assert str(refused.value).startswith(f"predict: {tmp_path / name}: {reason}")
        assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"new\\nline.png: cannot be read"):
        opened(tmp_path / "new\nline.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # twice that is a bomb
    with pytest.raises(ConfigError, match=r"whole\.png: too large; allowed: up to 100,000,000"):
        opened(tmp_path / "whole.png")
