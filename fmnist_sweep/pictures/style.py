"""The style that all pictures share, and conversion of figures to files.

Figures are created without pyplot and its backend and with fixed settings (`own_settings`), so that
a picture does not depend on the user's Matplotlib settings and can be made on any thread. Series
differ in lightness, marker and line style as well as hue, so that they are distinguishable in black
and white and by colour-blind readers.
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

from fmnist_sweep import runtime
from fmnist_sweep.pictures.fonts import FONT, can_be_drawn, families, family_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

DPI = 110
INK, FAINT, GRID = "#222222", "#6b6b6b", "#e3e3e3"
SMALL, NORMAL, LARGE = 8.0, 9.5, 12.0
# Paul Tol's high-contrast scheme, extended; its hues stay distinct in greyscale.
BLUE, RED, YELLOW, PALE = "#004488", "#BB5566", "#DDAA33", "#cfd6de"
SHADES = ("#dde3ea", "#9dbbdb", "#3f77b3", "#00224e")
"""From worst to best: a single hue of varying lightness."""


class NothingToShow(ValueError):
    """There is no data for the requested picture; the message says what is missing."""


@dataclass(frozen=True)
class Look:
    """The style of one series."""

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
    """Make figures inside the block independent of the user's settings (a `matplotlibrc`, a
    notebook's `rcParams` and styles), which are restored at the end.

    Settings are global to the process: figures on other threads are affected meanwhile. Only one
    block can be active at a time.
    """
    runtime.load_matplotlib()
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
    """Return an empty figure of the given size in inches, with a title and a footer."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    figure.suptitle(title, x=0.01, ha="left", fontsize=LARGE, fontweight="bold", color=INK)
    if foot:
        figure.supxlabel(foot, x=0.01, ha="left", fontsize=SMALL, color=FAINT)
    return figure


def style_axes(axes: Axes, x: str = "", y: str = "", grid: str = "both") -> None:
    """Apply the common style to axes and label them; `grid`: `x`, `y`, `both` or `none`."""
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
    """Set every text of a figure in our fonts, and disable its parsing as mathematics."""
    from matplotlib.text import Text

    for found in figure.findobj(Text):
        assert isinstance(found, Text)
        found.set_parse_math(False)
        found.set_fontfamily(families(found.get_text()))
    return figure


def to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file, the same bytes for the same figure.

    A palette is used if that at least halves the size and makes no visible difference.
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
    """Return a text for display in a picture: on one line, shortened in the middle to `limit`
    characters, with a box for each character that no font has."""
    line = _line(text)
    if len(line) > limit:
        tail = limit // 3  # similar names often differ only in a number at the end
        line = f"{line[: limit - 1 - tail].rstrip()}…{line[-tail:].lstrip()}"
    return "".join(char if family_with(char) else "□" for char in line)


def shown_class(class_names: Sequence[str], number: int, limit: int = 28) -> str:
    """Return a class's name as `shown` does; `class 3` if a character of it has no font, since the
    page has the name."""
    name = class_names[number]
    return shown(name, limit) if can_be_drawn(_line(name)) else f"class {number}"


def counted(number: int, what: str) -> str:
    """Return a number with its noun: `1 trial`, `2 trials`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def plain_number(number: float) -> str:
    """Return a number in compact form: `1.2M`, `430k`, `0.05`, `3e-05`."""
    size = abs(number)
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit * 0.9995:
            return f"{number / unit:.3g}{name}"
    return f"{number:.3g}"


def duration(seconds: float) -> str:
    """Return a duration in its largest unit: `45 s`, `1.5 min`, `2.2 h`, `3.4 d`."""
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
