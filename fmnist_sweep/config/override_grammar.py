"""Makes Hydra's parser of overrides work under `python -O`."""

from __future__ import annotations

import sys
from pathlib import Path

from hydra.core.override_parser import overrides_parser, overrides_visitor


def keep_assertions() -> None:
    """Keep the assert statements of Hydra's parser, which `python -O` removes: two of them consume
    the `:` of `{key: value}` and the `(` of `choice(1,2)`."""
    if sys.flags.optimize == 0:
        return
    source = Path(overrides_visitor.__file__)
    code = compile(source.read_bytes(), str(source), "exec", optimize=0)
    exec(code, vars(overrides_visitor))
    vars(overrides_parser)["HydraOverrideVisitor"] = overrides_visitor.HydraOverrideVisitor
