"""The fonts that a text is drawn in: Matplotlib's own, and installed ones for what that lacks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache

FONT = "DejaVu Sans"  # comes with Matplotlib, so that a picture is the same everywhere


def families(text: str) -> list[str]:
    """Return the families to draw a text in, `FONT` first."""
    found = [FONT, *(family_with(character) for character in text)]
    return [family for family in dict.fromkeys(found) if family is not None]


def can_be_drawn(text: str) -> bool:
    """Whether the fonts have all of a text's characters, and Matplotlib can put them together."""
    import matplotlib as mpl

    if not all(map(family_with, text)):
        return False
    # Before 3.11 it sets letters from left to right, each by itself.
    return mpl.__version_info__ >= (3, 11) or not any(map(_joins, text))


@cache
def family_with(character: str) -> str | None:
    """Return the family that has a character: `FONT`, else an installed one, else None."""
    if not character.isprintable():
        return None
    for family in _installed():
        if ord(character) in _characters(family):
            return family
    return None


def _joins(character: str) -> bool:
    is_mark = unicodedata.category(character).startswith("M")
    return is_mark or unicodedata.bidirectional(character) in ("R", "AL")


def _installed() -> Iterator[str]:
    from matplotlib.font_manager import fontManager

    yield FONT
    # Without those that have a box for every character.
    names = {font.name for font in fontManager.ttflist if "last" not in font.name.lower()}
    yield from sorted(names - {FONT}, key=lambda name: ("sans" not in name.lower(), name))


@cache
def _characters(family: str) -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(findfont(FontProperties(family=family))).get_charmap())
    except (OSError, RuntimeError):  # a file that is gone since, or damaged
        return frozenset()
