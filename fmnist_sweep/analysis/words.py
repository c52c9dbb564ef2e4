"""How values and paths of a config are said in reports, notes and on the console."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fmnist_sweep.config.messages import counted
from fmnist_sweep.files import canonical_json


def overrides_in_words(overrides: Mapping[str, Any]) -> str:
    """Return what a trial changes in the base config, in a line."""
    return ", ".join(f"{short_path(path)}={plain(value)}" for path, value in overrides.items())


def short_path(path: str) -> str:
    """Shorten a path: the group is clear from the rest, and blocks are numbered."""
    short = path.removeprefix("model.").removeprefix("train.")
    return re.sub(r"^(conv|fc)_(?:blocks|layers)\.(\d+)", r"\1\2", short)


def plain(value: Any) -> str:
    """Return a value as it would be written, texts without quotes."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else canonical_json(value)


def time_in_words(seconds: float) -> str:
    """Return a time as one would say it: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(round(minutes, -1), 60)
    return f"{hours} h {rest} min" if hours < 48 and rest else counted(hours, "hour")
