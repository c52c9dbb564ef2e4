from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from drawn_material import drawn_winner, names_of
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.font_manager import fontManager
from PIL import Image

from fmnist_sweep.pictures.fonts import FONT, families, family_with
from fmnist_sweep.pictures.style import (
    LOOKS,
    SHADES,
    counted,
    duration,
    finish,
    new_figure,
    own_settings,
    plain_number,
    shown,
    shown_class,
    style_axes,
    to_png,
)
from fmnist_sweep.pictures.winner import confusion_matrix

NOBODYS = "犬"  # which no font of Matplotlib's has


@pytest.fixture
def matplotlib_s_fonts() -> Iterator[None]:
    """Whatever fonts are installed."""
    before = list(fontManager.ttflist)
    fontManager.ttflist[:] = [font for font in before if font.fname.startswith(mpl.get_data_path())]
    family_with.cache_clear()
    yield
    fontManager.ttflist[:] = before
    family_with.cache_clear()


def lightness(colour: str) -> float:
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def a_figure(noise: bool = False):
    figure = new_figure(4.0, 3.0, "A $title_1", "a foot")
    axes = figure.add_subplot()
    style_axes(axes, x="x", y="y")
    if noise:
        pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
        axes.imshow(pixels)
    else:
        axes.plot([1, 2, 3], [2, 1, 3], label="$unfinished")
        axes.legend()
    return finish(figure)


def test_the_same_picture_gives_the_same_bytes_without_a_trace_of_when_or_by_what() -> None:
    first, second = to_png(a_figure()), to_png(a_figure())
    assert first == second
    assert not Image.open(io.BytesIO(first)).text  # type: ignore[attr-defined]


def test_flat_pictures_get_a_palette_that_hardly_differs_and_photographs_keep_their_colours() -> (
    None
):
    assert Image.open(io.BytesIO(to_png(a_figure()))).mode == "P"
    assert Image.open(io.BytesIO(to_png(a_figure(noise=True)))).mode == "RGB"


def a_picture() -> bytes:
    with own_settings():
        return to_png(a_figure())


def test_a_user_s_settings_change_no_picture_and_no_picture_changes_them() -> None:
    expected = a_picture()
    odd = {
        "text.usetex": True, "axes.facecolor": "red", "lines.linewidth": 9, "font.size": 30,
        "font.family": "fantasy", "path.sketch": (2, 100, 2), "axes.formatter.use_mathtext": True,
    }  # fmt: skip
    with mpl.rc_context(odd):
        before = dict(mpl.rcParams)
        assert a_picture() == expected
        assert dict(mpl.rcParams) == before


def test_threads_do_not_disturb_each_other() -> None:
    alone = to_png(confusion_matrix(drawn_winner(5), names_of(5)))
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda _: to_png(confusion_matrix(drawn_winner(5), names_of(5))), range(8))
        assert set(made) == {alone}


@given(st.text(max_size=80), st.integers(3, 40))
def test_a_shown_text_is_one_short_printable_line(text: str, limit: int) -> None:
    found = shown(text, limit)
    assert len(found) <= limit
    assert found.isprintable()
    assert shown(found, limit) == found


@pytest.mark.usefixtures("matplotlib_s_fonts")
def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    assert shown("a class of garments, number 17", 15) == "a class o…er 17"
    assert shown("short") == "short"
    assert shown(f"{NOBODYS} dog") == "□ dog"


@pytest.mark.usefixtures("matplotlib_s_fonts")
def test_characters_that_no_font_has_give_no_warning() -> None:
    to_png(finish(new_figure(3.0, 2.0, shown(f"犬 猫 \U0001f600 {NOBODYS}"))))


@pytest.mark.usefixtures("matplotlib_s_fonts")
def test_a_class_whose_name_cannot_be_drawn_is_shown_by_its_number() -> None:
    names = ("dog", f"{NOBODYS} dog", "a\x07b", "e\u0301t\u00e9\n2")
    assert [shown_class(names, c) for c in range(4)] == ["dog", "class 1", "class 2", "été 2"]


@pytest.mark.usefixtures("matplotlib_s_fonts")
def test_a_name_is_drawn_in_an_installed_font_that_has_it(tmp_path: Path) -> None:
    lacking = to_png(confusion_matrix(drawn_winner(2), ("class 0", "dog")))
    assert to_png(confusion_matrix(drawn_winner(2), (NOBODYS, "dog"))) == lacking
    font = a_font(tmp_path / "mine.ttf", "Mine Sans", NOBODYS)
    fontManager.addfont(font)
    family_with.cache_clear()
    assert shown_class((f"{NOBODYS} dog",), 0) == f"{NOBODYS} dog"
    assert families(f"{NOBODYS} dog") == [FONT, "Mine Sans"]
    assert to_png(confusion_matrix(drawn_winner(2), (NOBODYS, "dog"))) != lacking


def test_looking_for_a_font_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    family_with.cache_clear()
    with own_settings():
        to_png(confusion_matrix(drawn_winner(2), (NOBODYS, "dog")))
    assert not caplog.records


def test_letters_that_matplotlib_cannot_join_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    arabic = "\u0643\u0644\u0628"  # in Matplotlib's own font
    monkeypatch.setattr(mpl, "__version_info__", (3, 11, 0))
    assert shown_class((arabic,), 0) == arabic
    monkeypatch.setattr(mpl, "__version_info__", (3, 10, 8))
    assert shown_class((arabic,), 0) == "class 0"
    assert shown_class(("dog",), 0) == "dog"


def a_font(path: Path, family: str, characters: str) -> Path:
    """Make a font of squares."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (600, 700), (600, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000)
    names = [".notdef", *(f"u{ord(character):x}" for character in characters)]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (650, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


def test_series_differ_in_lightness_marker_and_line() -> None:
    first_three = sorted(lightness(look.colour) for look in LOOKS[:3])
    assert min(np.diff(first_three)) > 0.15
    for name in ("colour", "line", "marker", "hatch"):
        assert len({getattr(look, name) for look in LOOKS}) == len(LOOKS)
    assert (np.diff([lightness(shade) for shade in SHADES]) < -0.15).all()


def test_numbers_in_few_characters() -> None:
    assert [plain_number(n) for n in (0, 0.05, 999, 1000, 430_000, 1.2e6, 999_999)] == [
        "0", "0.05", "999", "1k", "430k", "1.2M", "1M",
    ]  # fmt: skip
    assert [duration(s) for s in (0.5, 45, 90, 7200, 200_000)] == [
        "0.5 s", "45 s", "1.5 min", "2 h", "2.31 d",
    ]  # fmt: skip
    assert (counted(1, "trial"), counted(2000, "trial")) == ("1 trial", "2,000 trials")
