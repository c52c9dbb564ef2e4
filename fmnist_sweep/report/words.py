"""How values and paths of a config are said in reports, notes and on the console."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fmnist_sweep.files import canonical_json
from fmnist_sweep.space.space import Leaf


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


def conditions_in_words(leaf: Leaf) -> str:
    """Return when a leaf exists; empty where it always does."""
    return " and ".join(
        f"{condition.path} is {' or '.join(map(plain, condition.values))}"
        for condition in leaf.conditions
    )


def minutes_in_words(seconds: float) -> str:
    """Return a time as one reads it: `48 s`, `16.2 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
