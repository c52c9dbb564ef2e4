"""The names of a sweep's classes. Training does not use them, and they may change later."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from fmnist_sweep.data.split_report import classes_csv
from fmnist_sweep.files import write_text_whole
from fmnist_sweep.report.gathering import standing_material
from fmnist_sweep.tracking.sweep_run import CLASSES_FILE
from fmnist_sweep.training.preparation import Prepared


def write_classes(folder: Path, prepared: Prepared) -> str | None:
    """Write `classes.csv` into a sweep's folder, one row per class.

    Returns:
        How the names have changed; None if they have not, or the earlier ones are unknown.
    """
    path = folder / CLASSES_FILE
    before = _names(folder, path)
    write_text_whole(path, classes_csv(prepared.split, prepared.dataset))
    now = prepared.dataset.class_names
    return None if before is None or before == now else renaming(before, now)


def renaming(before: Sequence[str], now: Sequence[str]) -> str:
    """Describe how the names of classes have changed."""
    pairs = list(zip_longest(before, now, fillvalue="none"))
    changed = [number for number, (was, is_now) in enumerate(pairs) if was != is_now]
    was, is_now = pairs[changed[0]]
    rest = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"class {changed[0]} was {was}, is {is_now}{rest}"


def _names(folder: Path, path: Path) -> tuple[str, ...] | None:
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            return tuple(row[0] for row in list(csv.reader(file))[1:])
    material = standing_material(folder)  # for a sweep of an earlier version
    return None if material is None else material.data.class_names
