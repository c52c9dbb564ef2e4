"""The configs that ship with the package: their folder, and the values of one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def shipped_conf_dir() -> Path:
    """Return `conf/`: inside the package if installed from a wheel, else beside it."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def shipped_config(group: str, name: str) -> dict[str, Any]:
    """Return the values of `conf/<group>/<name>.yaml`, a file without a defaults list."""
    values = OmegaConf.to_container(OmegaConf.load(shipped_conf_dir() / group / f"{name}.yaml"))
    if not isinstance(values, dict):
        raise TypeError(f"conf/{group}/{name}.yaml contains a list; allowed: a mapping")
    return {str(key): value for key, value in values.items()}
