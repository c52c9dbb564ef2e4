"""Hydra's reader of overrides, under `python -O` too."""

from __future__ import annotations

import sys
from pathlib import Path

from hydra.core.override_parser import overrides_parser, overrides_visitor


def keep_assertions() -> None:
    """Have Hydra's reader of overrides keep its assert statements, which `python -O` leaves out: in
    two of them it takes the `:` of `{key: value}` and the `(` of `choice(1,2)` off the input."""
    if sys.flags.optimize == 0:
        return
    source = Path(overrides_visitor.__file__)
    code = compile(source.read_bytes(), str(source), "exec", optimize=0)
    exec(code, vars(overrides_visitor))
    vars(overrides_parser)["HydraOverrideVisitor"] = overrides_visitor.HydraOverrideVisitor
