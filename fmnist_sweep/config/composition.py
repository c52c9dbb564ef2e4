"""How a config was composed: chosen files and overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Composition:
    """How a config was composed.

    `selected`: the chosen files of sweep, best and baseline, as {"sweep": "cnn"}.
    `overrides`: those of the command line, as typed, without Hydra's own.
    `overridden_keys`: the dotted keys that they set to values (without choices of files).
    `deriving`: those of `overrides` that change the training, so that a run of a recorded config is
    no longer a rerun of it.
    """

    selected: Mapping[str, str]
    overrides: tuple[str, ...]
    overridden_keys: tuple[str, ...]
    deriving: tuple[str, ...]

    @property
    def source(self) -> str | None:
        """The file chosen for a single training, as `best/NAME` or `baseline/NAME`."""
        for group in ("best", "baseline"):
            if group in self.selected:
                return f"{group}/{self.selected[group]}"
        return None
