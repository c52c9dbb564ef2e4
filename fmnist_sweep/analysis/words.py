"""Formats config values and paths for reports, notes and the console."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fmnist_sweep.config.messages import counted
from fmnist_sweep.files import canonical_json


def overrides_in_words(overrides: Mapping[str, Any]) -> str:
    """Return on one line what a trial changes in the base config."""
    return ", ".join(f"{short_path(path)}={plain(value)}" for path, value in overrides.items())


def short_path(path: str) -> str:
    """Shorten a path: omit the group if the rest is unambiguous, and number the blocks."""
    short = path.removeprefix("model.").removeprefix("train.")
    return re.sub(r"^(conv|fc)_(?:blocks|layers)\.(\d+)", r"\1\2", short)


def plain(value: Any) -> str:
    """Return a value as it would be written, strings without quotes."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else canonical_json(value)


def time_in_words(seconds: float) -> str:
    """Return a duration in words: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(round(minutes, -1), 60)
    return f"{hours} h {rest} min" if hours < 48 and rest else counted(hours, "hour")
