from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import matplotlib as mpl
import numpy as np
from drawn_material import drawn_winner, names_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

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
    style_axes,
    to_png,
)
from fmnist_sweep.pictures.winner import confusion_matrix


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


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    assert shown("a class of garments, number 17", 15) == "a class o…er 17"
    assert shown("short") == "short"
    assert shown("犬 dog") == "□ dog"


def test_characters_that_the_font_lacks_give_no_warning() -> None:
    to_png(new_figure(3.0, 2.0, shown("犬 猫 \U0001f600")))


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
