"""How a config came about: what was chosen, and what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Composition:
    """How a config came about.

    `selected`: which files of sweep, best and baseline were chosen, as {"sweep": "cnn"}.
    `overrides`: those of the command line, as typed, Hydra's own left out.
    `overridden_keys`: the dotted keys that they set to values (choices of files left out).
    `deriving`: those of `overrides` that change what is trained, so that a run of a recorded
    config is no longer a rerun of it.
    """

    selected: Mapping[str, str]
    overrides: tuple[str, ...]
    overridden_keys: tuple[str, ...]
    deriving: tuple[str, ...]

    @property
    def source(self) -> str | None:
        """The file of a single training that was chosen, as `best/NAME` or `baseline/NAME`."""
        for group in ("best", "baseline"):
            if group in self.selected:
                return f"{group}/{self.selected[group]}"
        return None
