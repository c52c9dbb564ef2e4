"""The look that all pictures share, and how a picture becomes a file.

Figures are made as objects: no pyplot, no rcParams, so that pictures may be made on any thread and
change nothing for whoever else draws with Matplotlib. Series differ in lightness, marker and line
as well as in hue, so that they are told apart in black and white and by the colour-blind.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font

DPI = 110
FONT = "DejaVu Sans"  # comes with Matplotlib, so that a picture is the same everywhere
INK, FAINT, GRID = "#222222", "#6b6b6b", "#e3e3e3"
SMALL, NORMAL, LARGE = 8.0, 9.5, 12.0
# Paul Tol's high-contrast scheme, whose three hues keep apart in greyscale, made longer.
BLUE, RED, YELLOW, PALE = "#004488", "#BB5566", "#DDAA33", "#cfd6de"
SCORES = "cividis_r"
"""The colour map of numbers: even in lightness for everyone, dark is high."""


class NothingToShow(ValueError):
    """A picture was asked for of nothing; the message says what is missing."""


@dataclass(frozen=True)
class Look:
    """How one of several series is drawn."""

    colour: str
    line: str | tuple[int, tuple[int, ...]]
    marker: str
    hatch: str


LOOKS = (
    Look(BLUE, "-", "o", ""),
    Look(YELLOW, (0, (5, 2)), "s", "///"),
    Look(RED, (0, (1, 1)), "^", "..."),
    Look("#000000", (0, (6, 2, 1, 2)), "D", "xx"),
    Look("#66A5D9", (0, (8, 2)), "v", "\\\\\\"),
    Look("#117733", (0, (3, 1, 1, 1, 1, 1)), "P", "++"),
)


def new_figure(width: float, height: float, title: str, under: str = "") -> Figure:
    """Return an empty figure of so many inches, with a title and a smaller line under it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr]
    # Both stand in one text, so that the layout leaves room for both; the lines that follow the
    # first are the smaller part, which a text of one size cannot have.
    figure.suptitle(
        title, x=0.015, ha="left", fontsize=LARGE, fontweight="bold", color=INK, family=FONT
    )
    if under:
        figure.supxlabel(under, x=0.015, ha="left", fontsize=SMALL, color=FAINT, family=FONT)
    return figure


def style_axes(axes: Axes, x: str = "", y: str = "", grid: str = "both") -> None:
    """Give axes the common look and their labels; `grid`: `x`, `y`, `both` or `none`."""
    axes.set_facecolor("white")
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)
        spine.set_linewidth(0.8)
    axes.tick_params(which="both", labelsize=SMALL, color=FAINT, labelcolor=INK, width=0.8)
    axes.grid(False, which="both")
    if grid != "none":
        axes.grid(True, axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_xlabel(x, fontsize=NORMAL, color=INK)
    axes.set_ylabel(y, fontsize=NORMAL, color=INK)


def finish(figure: Figure) -> Figure:
    """Make every text of a figure plain: in our font, and no part of it read as mathematics."""
    from matplotlib.text import Text

    for found in figure.findobj(Text):
        assert isinstance(found, Text)
        found.set_parse_math(False)
        found.set_fontfamily(FONT)
    return figure


def to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file, the same bytes for the same figure.

    Its colours become a palette where that at least halves the file and can hardly be seen.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    whole = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    full = _png(whole)
    # Without dithering: flat areas stay flat.
    few = whole.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    small = _png(few)
    if 2 * len(small) <= len(full) and _hardly_differs(np.asarray(whole), few.convert("RGB")):
        return small
    return full


def shown(text: str, limit: int = 28) -> str:
    """Return a text as a picture can show it: on one line, at most so many characters, and with
    a box for every character that the font lacks."""
    line = " ".join(text.split())
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + "…"
    return "".join(char if _has(char) else "□" for char in line)


def plain_number(number: float) -> str:
    """Return a number in few characters: `1.2M`, `430k`, `0.05`, `3e-05`."""
    size = abs(number)
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit * 0.9995:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """Return a time in its largest fitting unit: `45 s`, `1.5 min`, `2.2 h`, `3.4 d`."""
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def time_unit(longest: float) -> tuple[float, str]:
    """Return the unit, in seconds, that an axis up to so many seconds is read best in, and its
    name."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest >= 2 * unit:
            return unit, name
    return 1.0, "seconds"


def zoomed(scores: NDArray[np.float64], direction: str) -> tuple[float, float]:
    """Return the range of an axis of scores that shows where they differ.

    It holds all of them, unless some few are so far on the worse side that the others could not be
    told apart; those are to be drawn at its edge.
    """
    sign = 1.0 if direction == "max" else -1.0
    good = sign * scores[np.isfinite(scores)]
    best, middle, worst = float(good.max()), float(np.median(good)), float(good.min())
    edge = max(worst, middle - 4 * (best - middle)) if best > middle else worst
    pad = 0.06 * (best - edge) or 0.02 * (abs(best) or 1.0)
    low, high = sorted((sign * (edge - pad), sign * (best + pad)))
    return low, high


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers between two numbers above 0, for an axis in powers of ten."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [d * 10.0**e for e in exponents for d in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            break
    return ticks[:: math.ceil(len(ticks) / most)] if ticks else [low, high]


def use_log(axes: Axes, low: float, high: float, *, is_x: bool) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks."""
    axis = axes.xaxis if is_x else axes.yaxis
    ends = (low / 1.15, high * 1.15)
    if is_x:
        axes.set_xscale("log")
        axes.set_xlim(*ends)
    else:
        axes.set_yscale("log")
        axes.set_ylim(*ends)
    ticks = log_ticks(*ends)
    axis.set_ticks(ticks, [plain_number(tick) for tick in ticks])
    axis.set_ticks([], minor=True)


def scores_shown(numbers: Sequence[float]) -> list[str]:
    """Return scores with so many digits that neighbours differ, 4 at most."""
    for digits in (2, 3):
        texts = [f"{number:.{digits}f}" for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            return texts
    return [f"{number:.4f}" for number in numbers]


def _png(image: object) -> bytes:
    from PIL import Image

    assert isinstance(image, Image.Image)
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    return file.getvalue()


def _hardly_differs(whole: NDArray[np.uint8], few: object) -> bool:
    differences = np.abs(whole.astype(np.int16) - np.asarray(few, dtype=np.int16))
    return bool(differences.mean() < 1.0 and np.mean(differences > 24) < 0.001)


def _has(char: str) -> bool:
    return char.isprintable() and _font().get_char_index(ord(char)) != 0


@cache
def _font() -> FT2Font:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    return FT2Font(findfont(FontProperties(family=FONT)))
