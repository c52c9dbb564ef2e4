"""The look that all pictures share, and how a picture becomes a file.

Figures are made as objects, without pyplot and its backend, and under settings of our own
(`own_settings`), so that a picture is the same whatever the user's Matplotlib is set to, and may be
made on any thread. Series differ in lightness, marker and line
as well as in hue, so that they are told apart in black and white and by the colour-blind.
"""

from __future__ import annotations

import io
import logging
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmnist_sweep import environment
from fmnist_sweep.pictures.fonts import FONT, can_be_drawn, families, family_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

DPI = 110
INK, FAINT, GRID = "#222222", "#6b6b6b", "#e3e3e3"
SMALL, NORMAL, LARGE = 8.0, 9.5, 12.0
# Paul Tol's high-contrast scheme, whose three hues keep apart in greyscale, made longer.
BLUE, RED, YELLOW, PALE = "#004488", "#BB5566", "#DDAA33", "#cfd6de"
SHADES = ("#dde3ea", "#9dbbdb", "#3f77b3", "#00224e")
"""From the worst to the best: one hue, so that lightness alone tells them apart."""


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


@contextmanager
def own_settings() -> Iterator[None]:
    """Have a figure that is made and turned into a file inside the block be free of the user's
    settings (a `matplotlibrc`, a notebook's `rcParams` and styles), which are back behind it.

    They are the process's: what another thread draws meanwhile has ours too. One block at a time.
    """
    environment.load_matplotlib()
    import matplotlib as mpl

    log = logging.getLogger("matplotlib.font_manager")  # warns of a family without that weight
    with _setting, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["font.family"] = FONT
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


_setting = threading.RLock()


def new_figure(width: float, height: float, title: str, foot: str = "") -> Figure:
    """Return an empty figure of so many inches, with a title and a line at its foot."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    figure.suptitle(title, x=0.01, ha="left", fontsize=LARGE, fontweight="bold", color=INK)
    if foot:
        figure.supxlabel(foot, x=0.01, ha="left", fontsize=SMALL, color=FAINT)
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
    """Make every text of a figure plain: in our fonts, and no part of it read as mathematics."""
    from matplotlib.text import Text

    for found in figure.findobj(Text):
        assert isinstance(found, Text)
        found.set_parse_math(False)
        found.set_fontfamily(families(found.get_text()))
    return figure


def to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file, the same bytes for the same figure.

    Its colours become a palette where that at least halves the file and can hardly be seen.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL.Image import Dither, Quantize, fromarray

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    whole = fromarray(pixels).convert("RGB")
    full = _png(whole, optimize=False)
    # Without dithering: flat areas stay flat.
    few = whole.quantize(256, Quantize.MEDIANCUT, dither=Dither.NONE)
    small = _png(few, optimize=True)
    if 2 * len(small) <= len(full) and _hardly_differs(np.asarray(whole), few.convert("RGB")):
        return small
    return full


def shown(text: str, limit: int = 28) -> str:
    """Return a text as a picture can show it: on one line, its middle cut out where it is longer
    than so many characters, and with a box for every character that no font has."""
    line = _line(text)
    if len(line) > limit:
        tail = limit // 3  # names that begin alike often end in a number
        line = f"{line[: limit - 1 - tail].rstrip()}…{line[-tail:].lstrip()}"
    return "".join(char if family_with(char) else "□" for char in line)


def shown_class(class_names: Sequence[str], number: int, limit: int = 28) -> str:
    """Return a class's name as `shown` does, but `class 3` where a part of it cannot be drawn: the
    page has the name."""
    name = class_names[number]
    return shown(name, limit) if can_be_drawn(_line(name)) else f"class {number}"


def counted(number: int, what: str) -> str:
    """Return a number of things in words: `1 trial`, `2 trials`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


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


def _png(image: Image, *, optimize: bool) -> bytes:
    file = io.BytesIO()
    image.save(file, "png", optimize=optimize)
    return file.getvalue()


def _hardly_differs(whole: NDArray[np.uint8], few: Image) -> bool:
    differences = np.abs(whole.astype(np.int16) - np.asarray(few, dtype=np.int16))
    return bool(differences.mean() < 1.5 and np.mean(differences > 24) < 0.001)


def _line(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
